#!lua flags=allow-oom
-- The message of that number; `next` where it is the one to come.
local domain = KEYS[1]
local pipe = ARGV[1]
local number = ARGV[2]
local embed = ARGV[3]
local idle = ARGV[4]

--@ include lib_state lib_pipe lib_content

local key = pipe_key(domain, pipe)
local state = redis.call('HMGET', key, 'last', 'dropped')
if not state[1] then
  return { 'missing' }
end
pipe_touch(domain, pipe, tonumber(idle))
local message = message_get(domain, pipe, number)
if not message then
  return { tonumber(number) == tonumber(state[1]) + 1 and 'next' or 'missing' }
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
return { 'ok', message.id, message.blob, parts, dropped }
