#!lua
-- Route the messages of one request: all of them, in order, or none.
-- Everything is checked before the first write, for Redis does not roll back.
local domain = KEYS[1]
local feed = ARGV[1]
local most = ARGV[2]
local deliveries = ARGV[3]
local nonce = ARGV[4]
local messages = 5 -- ARGV from here on: address, message_id, blob, contents of each message

--@ include profiles lib_state lib_pipe lib_feed

local INLINE = 4096 -- bytes; a larger blob would make listing a pipe slow
local source = feed_get(domain, feed)
if not source then
  return { 'missing' }
end
local kind = feed_types[source.type]
if not kind then
  return { 'unknown_type' }
end
local index = domain .. ':index:' .. source.id
most, deliveries = tonumber(most), tonumber(deliveries)

-- `contents` has a word for each content: the staged one's secret, or `-`.
local claimed = {}
for i = messages, #ARGV, 4 do
  for content in string.gmatch(ARGV[i + 3], '%x+') do
    local key = domain .. ':content:' .. content
    local staged = redis.call('HMGET', key, 'feed', 'id')
    if not staged[1] or claimed[key] then
      return { 'no_content' }
    end
    if staged[2] ~= source.id then
      return { 'other_feed' }
    end
    claimed[key] = true
  end
end

local pipes = {} -- by secret: what is known of each pipe that a message reaches
local function pipe_state(pipe)
  local state = pipes[pipe]
  if not state then
    local key = pipe_key(domain, pipe)
    local values = redis.call('HMGET', key, 'last', 'version', 'shared')
    state = {
      key = key, stream = key .. ':messages', last = tonumber(values[1]), version = values[2],
      shared = tonumber(values[3]), room = most - redis.call('XLEN', key .. ':messages'),
    }
    pipes[pipe] = state
  end
  return state
end

local takers, reply = {}, { 'ok' }
for i = messages, #ARGV, 4 do
  local taken, full = {}, 0
  for _, pipe in ipairs(kind.match(index, { address = ARGV[i] })) do
    local state = pipe_state(pipe)
    if state.room > 0 then
      state.room = state.room - 1
      state.took = true
      taken[#taken + 1] = state
    else
      full = full + 1
    end
  end
  if full > 0 and #taken == 0 then
    return { 'full' } -- nobody who wants it could take it: the publisher must keep it
  end
  deliveries = deliveries - #taken
  if deliveries < 0 then
    return { 'too_many' } -- or the writing would keep everybody else waiting
  end
  takers[#takers + 1] = taken
  reply[#reply + 1] = #taken
  reply[#reply + 1] = full
end

for key in pairs(claimed) do
  redis.call('PERSIST', key)
  redis.call('HDEL', key, 'feed', 'id') -- published: it cannot be named again
end
local stamp = '-' .. digits(now)
for m, taken in ipairs(takers) do
  local i = messages + (m - 1) * 4
  local address, id, blob, contents = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local form, value = 'm', blob
  if #taken == 0 then
    contents_unlink(domain, contents)
  elseif #taken > 1 or contents ~= '' or #blob > INLINE then
    form, value = 'b', nonce .. '-' .. m
    redis.call('HSET', domain .. ':body:' .. value, 'm', blob, 'c', contents, 'n', #taken)
  end
  for _, state in ipairs(taken) do
    state.last = state.last + 1
    if form == 'b' then
      state.shared = state.shared + 1
    end
    redis.call('XADD', state.stream, digits(state.last) .. stamp, 'a', address, 'i', id, form, value)
  end
end

local hints = redis.call('EXISTS', domain .. ':hints') == 1
for _, state in pairs(pipes) do
  if state.took then -- a full pipe that was passed over has not changed
    redis.call('HSET', state.key, 'last', state.last, 'shared', state.shared,
      'version', next_version(state.version))
    if hints then
      ring(state.stream)
    end
  end
end
return reply
