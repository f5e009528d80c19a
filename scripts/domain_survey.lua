#!lua flags=no-writes
-- Count what a domain holds, a chunk of its pipes or feeds in a call, by the node that sweeps it.
-- `state` is how far it is: what is walked, the cursor, messages so far, and when the oldest of
-- them came (microseconds). In the end: messages, the age of the oldest, and pipes.
local domain = KEYS[1]
local node = ARGV[1]
local state = ARGV[2]

--@ include lib_state

local PIPES = 200 -- looked at in one call
local FEEDS = 20
local CALM = 1e14 -- what the places of one priority are apart in a queue (see lib_queue)

if redis.call('GET', domain .. ':lease') ~= node then
  return { 'held' }
end
local what, cursor, messages, oldest = string.match(state, '^(%a+) (%d+) (%d+) (%d+)$')
messages, oldest = tonumber(messages), tonumber(oldest)

local function see(since)
  since = tonumber(since)
  if since and (oldest == 0 or since < oldest) then
    oldest = since
  end
end

local function pipe_look(pipe)
  local stream = domain .. ':pipe:' .. pipe .. ':messages'
  local count = redis.call('XLEN', stream)
  if count > 0 then
    messages = messages + count
    see(string.match(redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1], '%d+$'))
  end
end

-- Messages that wait in a feed for somebody to take them, or for their time.
local function feed_look(feed)
  local index = domain .. ':index:' .. (redis.call('HGET', domain .. ':feed:' .. feed, 'id') or '')
  local queue = index .. ':queue'
  local count = redis.call('ZCARD', queue)
  messages = messages + count + redis.call('ZCARD', index .. ':delayed')
  for priority = 0, count > 0 and 9 or -1 do
    local first = redis.call('ZRANGE', queue, digits(priority * CALM), '(' .. digits((priority + 1) * CALM),
      'BYSCORE', 'LIMIT', 0, 1)[1]
    if first then
      see(redis.call('HGET', domain .. ':body:' .. string.match(first, '^%S+'), 't'))
    end
  end
end

local found
if what == 'pipes' then
  cursor, found = unpack(redis.call('ZSCAN', domain .. ':idle', cursor, 'COUNT', PIPES))
  for i = 1, #found, 2 do
    pipe_look(found[i])
  end
elseif what == 'feeds' then
  cursor, found = unpack(redis.call('ZSCAN', domain .. ':feeds', cursor, 'COUNT', FEEDS))
  for i = 1, #found, 2 do
    feed_look(found[i])
  end
else
  cursor, found = unpack(redis.call('SSCAN', domain .. ':private', cursor, 'COUNT', FEEDS))
  for _, feed in ipairs(found) do
    feed_look(feed)
  end
end
local after = { pipes = 'feeds', feeds = 'private' }
if cursor == '0' then
  what = after[what]
end
if what then
  return { 'more', table.concat({ what, cursor, digits(messages), digits(oldest) }, ' ') }
end
return { 'ok', messages, oldest > 0 and now - oldest or 0, redis.call('ZCARD', domain .. ':idle') }
