-- A pipe: its hash, its stream of numbered messages, its place among the idle.

local CHUNK = 1000 -- messages or joins freed in one call, so that Redis never stalls
local LAST_SEQUENCE = '-18446744073709551615'

local function pipe_key(domain, pipe)
  return domain .. ':pipe:' .. pipe
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

local function contents_unlink(domain, contents)
  for content in string.gmatch(contents, '%x+') do
    redis.call('UNLINK', domain .. ':content:' .. content)
  end
end

-- A body is shared by the pipes that hold its message; the last one frees it.
local function body_release(domain, body)
  local key = domain .. ':body:' .. body
  if redis.call('HINCRBY', key, 'n', -1) <= 0 then
    local contents = redis.call('HGET', key, 'c')
    if contents then
      contents_unlink(domain, contents)
    end
    redis.call('UNLINK', key)
  end
end

-- Release the bodies of the oldest messages up to `number`, one chunk of them,
-- and drop those messages. Returns how many bodies went and whether more remain.
local function messages_release(domain, stream, number)
  local entries = redis.call('XRANGE', stream, '-', number, 'COUNT', CHUNK)
  local released, seen = 0, nil
  for _, entry in ipairs(entries) do
    local body = entry_fields(entry)['b']
    if body then
      body_release(domain, body)
      released = released + 1
    end
    seen = entry[1]
  end
  if seen then
    local high = tonumber(string.match(seen, '^%d+'))
    redis.call('XTRIM', stream, 'MINID', digits(high + 1) .. '-0')
  end
  return released, #entries == CHUNK
end
