#!lua flags=allow-oom
-- The message of that number; `next` where it is the one to come.
-- An ondemand pipe that is empty takes that from its feeds now; `pull` says whether
-- it may (`take`), and whether its reader will wait for it (`wait`).
local domain = KEYS[1]
local pipe = ARGV[1]
local number = ARGV[2]
local embed = ARGV[3]
local idle = ARGV[4]
local pull = ARGV[5]
local bounds = ARGV[6]

--@ include profiles lib_messaging lib_content

local key = pipe_key(domain, pipe)
local state = redis.call('HMGET', key, 'last', 'dropped', 'type')
if not state[1] then
  return { 'missing' }
end
pipe_touch(domain, pipe, tonumber(idle))
local message = message_get(domain, pipe, number)
if not message then
  if tonumber(number) ~= tonumber(state[1]) + 1 then
    return { 'missing' }
  end
  if pull == '' or not pipe_types[state[3]].pulls or redis.call('XLEN', key .. ':messages') > 0 then
    return { 'next', 0 }
  end
  local pulled = queue_pull(domain, pipe, pull == 'wait')
  settle_and_ring(domain)
  if not pulled then
    return { 'next', pull == 'wait' and 1 or 0 }
  end
  message = message_get(domain, pipe, number)
end
-- Of each staged content: type and size, and its bytes where they are few.
local parts = {}
for i, content in ipairs(words(message.contents)) do
  parts[i] = content ~= '-' and content_get(domain, content, tonumber(embed)) or ''
end
local dropped = {}
if state[2] then
  dropped = redis.call('ZRANGEBYSCORE', key .. ':dropped', number, number)
end
return { 'ok', message.id, message.blob, parts, dropped, message.redelivered, message.death }
