-- A pipe: its hash, its stream of numbered messages, its place among the idle.

local CHUNK = 1000 -- messages or joins freed in one call, so that Redis never stalls
local LAST_SEQUENCE = '-18446744073709551615'

local function pipe_key(domain, pipe)
  return domain .. ':pipe:' .. pipe
end

local floor -- of the numbers that pipes may give out, once it was asked for

-- The number after `last`. Where Redis has lost its last writes, or may have, the domain has a
-- floor above all numbers that were given out for what is lost (see domain_enter): a pipe made
-- `since` goes on counting, an older one counts on from there.
local function number_after(domain, last, since)
  floor = floor or tonumber(redis.call('HGET', domain, 'floor') or 0)
  local after = tonumber(last) + 1
  if after > floor or tonumber(since or 0) == floor then
    return after
  end
  return floor
end

-- XADD and XTRIM announce themselves by keyspace events. Any other change of a
-- pipe does so by XSETID, which changes nothing but is an event of the same
-- stream: one subscription tells a waiter everything. Where such events cannot
-- be had, the nodes keep a flag that asks for published hints instead.
local function pipe_hint(domain, pipe)
  if redis.call('EXISTS', domain .. ':hints') == 1 then
    ring(pipe_key(domain, pipe) .. ':messages')
  end
end

local function pipe_ring(domain, pipe, last)
  redis.call('XSETID', pipe_key(domain, pipe) .. ':messages', digits(last) .. LAST_SEQUENCE)
  pipe_hint(domain, pipe)
end

local function pipe_changed(domain, pipe)
  local key = pipe_key(domain, pipe)
  local state = redis.call('HMGET', key, 'version', 'last')
  if state[1] then
    redis.call('HSET', key, 'version', next_version(state[1]))
    pipe_ring(domain, pipe, tonumber(state[2]))
  end
end

-- Rounded up to a sixteenth of the idle time, so that most uses write nothing.
local function pipe_touch(domain, pipe, idle)
  local grain = math.max(1, math.floor(idle / 16))
  local due = math.ceil((now_ms + idle) / grain) * grain
  redis.call('ZADD', domain .. ':idle', due, pipe)
end

local function entry_fields(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do
    fields[entry[2][i]] = entry[2][i + 1]
  end
  return fields
end

-- A message's place among those that will expire.
local function entry_name(pipe, entry)
  return 'p ' .. pipe .. ' ' .. string.match(entry[1], '^%d+')
end

-- What an entry holds is let go of; whether it held a body.
local function entry_release(domain, pipe, entry, fields)
  if not fields['b'] then
    return false
  end
  if fields['e'] then
    redis.call('ZREM', domain .. ':expiring', entry_name(pipe, entry))
  end
  body_release(domain, fields['b'])
  return true
end

-- Drop the oldest messages up to `number`, one chunk of them. Returns how many
-- bodies went, whether more remain, and how many messages were looked at.
local function messages_release(domain, pipe, number)
  local stream = pipe_key(domain, pipe) .. ':messages'
  local entries = redis.call('XRANGE', stream, '-', number, 'COUNT', CHUNK)
  local released, seen = 0, nil
  for _, entry in ipairs(entries) do
    if entry_release(domain, pipe, entry, entry_fields(entry)) then
      released = released + 1
    end
    seen = entry[1]
  end
  if seen then
    local high = tonumber(string.match(seen, '^%d+'))
    redis.call('XTRIM', stream, 'MINID', digits(high + 1) .. '-0')
  end
  return released, #entries == CHUNK, #entries
end
