#!lua flags=allow-oom
-- One content of a message: its bytes where they are no more than `most`, or the blob
-- that has them.
local domain = KEYS[1]
local pipe = ARGV[1]
local number = ARGV[2]
local part = ARGV[3]
local most = ARGV[4]
local idle = ARGV[5]

--@ include lib_state lib_body lib_pipe lib_content

local alive = redis.call('HEXISTS', pipe_key(domain, pipe), 'last') == 1
local message = alive and message_get(domain, pipe, number)
if not message or redis.call('ZSCORE', pipe_key(domain, pipe) .. ':dropped', number .. '-' .. part) then
  return { 'missing' }
end
pipe_touch(domain, pipe, tonumber(idle))
local content = words(message.contents)[tonumber(part)]
if content and content ~= '-' then
  return { 'ok', content_get(domain, content, most), content, message.id }
end
return { 'inside', message.id, message.blob }
