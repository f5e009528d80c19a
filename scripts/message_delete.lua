#!lua flags=allow-oom
-- Acknowledge: messages, each with all older ones, leave their pipes. What has not
-- come yet is left to come. It is told how many left.
local domain = KEYS[1]
local idle = ARGV[1]
local calls = 2 -- ARGV from here on, of each call: pipe, number, versions, unmodified

--@ include lib_state lib_body lib_pipe lib_content

local TRIMMED = 100000 -- plain messages that go in one call

local left = CHUNK -- messages that this call may still look at
local trims = TRIMMED -- plain ones that it may still trim

-- Trim plain messages up to `number`; whether more remain. They are numbered without gaps,
-- or nearly so: then fewer go.
local function trim(stream, number, length)
  local upto, more = tonumber(number), false
  if length > trims then
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1]
    local most = tonumber(string.match(first, '^%d+')) + trims - 1
    upto, more = math.min(upto, most), upto > most
  end
  redis.call('XTRIM', stream, 'MINID', digits(upto + 1) .. '-0')
  return more
end

local function delete(pipe, number, versions, unmodified)
  local key = pipe_key(domain, pipe)
  local stream = key .. ':messages'
  local state = redis.call('HMGET', key, 'last', 'shared', 'version', 'dropped', 'queues', 'since')
  if not state[1] then
    return { 'ok', 0 }
  end
  pipe_touch(domain, pipe, tonumber(idle))
  if tonumber(number) > tonumber(state[1]) and tonumber(number) >= number_after(domain, state[1], state[6]) then
    return { 'ok', 0 }
  end
  if versions ~= '' or unmodified ~= '' then
    local message = message_get(domain, pipe, number)
    if message then
      local version = tonumber(string.match(message.id, '%d+$'))
      if state[4] then -- each content that was taken out has changed the message
        version = version + redis.call('ZCOUNT', key .. ':dropped', number, number)
      end
      if is_stale(digits(version), versions, unmodified) then
        return { 'stale' }
      end
    end
  end
  local before = redis.call('XLEN', stream)
  local shared, more = tonumber(state[2]), false
  if shared > 0 then
    if left <= 0 then
      return { 'more', 0 }
    end
    local released, looked
    released, more, looked = messages_release(domain, pipe, number)
    shared, left = shared - released, left - looked
  else
    if trims <= 0 then
      return { 'more', 0 }
    end
    more = trim(stream, number, before)
  end
  if state[4] then
    redis.call('ZREMRANGEBYSCORE', key .. ':dropped', '-inf', number)
  end
  local after = redis.call('XLEN', stream)
  if shared == 0 then
    trims = trims - (before - after)
  end
  if after ~= before then
    redis.call('HSET', key, 'shared', shared, 'version', next_version(state[3]))
    pipe_hint(domain, pipe)
    if state[5] and redis.call('EXISTS', domain .. ':queued') == 1 then
      due_ring(domain) -- messages may wait in a feed for room in this pipe
    end
  end
  return { more and 'more' or 'ok', before - after }
end

local replies = {}
for i = calls, #ARGV, 4 do
  replies[#replies + 1] = answered(delete, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
return replies
