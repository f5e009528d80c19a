#!lua flags=no-writes
-- A staged content. Once published it is a part of its message, and no longer found here.
local domain = KEYS[1]
local content = ARGV[1]

--@ include lib_state lib_body lib_pipe lib_content

if redis.call('HEXISTS', domain .. ':content:' .. content, 'feed') == 0 then
  return { 'missing' }
end
return { 'ok', content_get(domain, content) }
