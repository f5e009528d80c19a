#!lua flags=allow-oom
-- An ondemand pipe that holds nothing takes a message of its feeds, as the one of
-- that number. Where there is none and its reader `waits`, it is called when there is.
local domain = KEYS[1]
local pipe = ARGV[1]
local number = ARGV[2]
local embed = ARGV[3]
local waits = ARGV[4]
local bounds = ARGV[5]

--@ include profiles lib_messaging lib_content

local key = pipe_key(domain, pipe)
local state = redis.call('HMGET', key, 'last', 'since')
if not state[1] then
  return { 'missing' }
end
local pulled = true
if tonumber(number) == number_after(domain, state[1], state[2]) then
  if redis.call('XLEN', key .. ':messages') > 0 then
    return { 'next', 0 }
  end
  pulled = queue.pull(domain, pipe, waits == '1')
  settle_and_ring(domain)
end
if not pulled then
  return { 'next', tonumber(waits) }
end
local message = message_get(domain, pipe, number) -- or another reader of this pipe took it
if not message then
  return { 'missing' }
end
return message_reply(domain, pipe, number, message, embed, redis.call('HGET', key, 'dropped'))
