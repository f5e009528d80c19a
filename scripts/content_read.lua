#!lua flags=no-writes
-- A staged content, with its bytes where they are no more than `most`. Once published it
-- is a part of its message, and no longer found here.
local domain = KEYS[1]
local content = ARGV[1]
local most = ARGV[2]

--@ include lib_state lib_body lib_pipe lib_content

if redis.call('HEXISTS', content_key(domain, content), 'feed') == 0 then
  return { 'missing' }
end
return { 'ok', content_get(domain, content, most), content }
