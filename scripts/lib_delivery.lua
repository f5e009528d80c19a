-- Delivering: the pipes that a transition gives messages to, each looked at
-- once and written back once.

local most, queue_most, redeliveries = string.match(bounds, '^(%d+) (%d+) (%d+)$')
most, queue_most, redeliveries = tonumber(most), tonumber(queue_most), tonumber(redeliveries)

local stamp = '-' .. digits(now)
local touched = {} -- by pipe

local function pipe_state(domain, pipe)
  local state = touched[pipe]
  if not state then
    local key = pipe_key(domain, pipe)
    local stream = key .. ':messages'
    local values = redis.call('HMGET', key, 'last', 'version', 'shared', 'since')
    state = {
      pipe = pipe, key = key, stream = stream, version = values[2],
      last = values[1] and number_after(domain, values[1], values[4]) - 1, shared = tonumber(values[3]), room = most - redis.call('XLEN', stream), due = {}, seen = 0,
    }
    touched[pipe] = state
  end
  return state
end

local BRIEF = 1024 -- bytes; what a pipe lists of a longer blob's message stands beside it

-- `turn` is the message's place in the feed's queue, if it came from one.
local function deliver(domain, state, message, turn)
  state.last = state.last + 1
  state.took = true
  local entry = string.format('%.0f', state.last) .. stamp
  if not (message.body or turn) then
    if #message.blob <= BRIEF then
      redis.call('XADD', state.stream, entry, 'm', message.blob)
    else
      redis.call('XADD', state.stream, entry, 'a', message.address, 'i', message.id, 'm', message.blob)
    end
    return
  end
  local fields = { 'a', message.address, 'i', message.id, 'm', message.blob }
  if message.body then
    state.shared = state.shared + 1
    fields[5], fields[6] = 'b', message.body
    if message.expires > 0 then
      fields[#fields + 1], fields[#fields + 2] = 'e', digits(message.expires)
      redis.call('ZADD', domain .. ':expiring', digits(message.expires),
        'p ' .. state.pipe .. ' ' .. digits(state.last))
    end
  end
  if turn then
    fields[#fields + 1], fields[#fields + 2] = 'q', turn
    if message.redelivered > 0 then
      fields[#fields + 1], fields[#fields + 2] = 'r', message.redelivered
    end
    if not message.body and message.headers ~= '' then
      fields[#fields + 1], fields[#fields + 2] = 'h', message.headers
    end
  end
  if message.death ~= '' then
    fields[#fields + 1], fields[#fields + 2] = 'd', message.death
  end
  redis.call('XADD', state.stream, entry, unpack(fields))
end

local function pipes_flush(domain)
  local hints
  for _, state in pairs(touched) do
    if state.took then -- a full pipe that was passed over has not changed
      if hints == nil then
        hints = redis.call('EXISTS', domain .. ':hints') == 1
      end
      redis.call('HSET', state.key, 'last', state.last, 'shared', state.shared,
        'version', next_version(state.version))
      if hints then
        ring(state.stream)
      end
    end
  end
  touched = {}
end
