#!lua
-- Take one content out of a pipe's copy of a message; other pipes keep theirs.
local domain = KEYS[1]
local pipe = ARGV[1]
local number = ARGV[2]
local part = ARGV[3]
local versions = ARGV[4]
local unmodified = ARGV[5]
local idle = ARGV[6]

--@ include lib_state lib_body lib_pipe lib_content

local key = pipe_key(domain, pipe)
-- A deleted pipe's stream may still be there, waiting for the sweep.
local message = redis.call('HEXISTS', key, 'last') == 1 and message_get(domain, pipe, number)
if not message then
  return { 'ok' }
end
if is_stale(string.match(message.id, '%d+$'), versions, unmodified) then
  return { 'stale' }
end
redis.call('ZADD', key .. ':dropped', number, number .. '-' .. part)
redis.call('HSET', key, 'dropped', 1)
pipe_touch(domain, pipe, tonumber(idle))
return { 'ok' }
