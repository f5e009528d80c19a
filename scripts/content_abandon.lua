#!lua flags=allow-oom
-- Free some of what came of an upload that broke off. One that is whole is left alone.
local domain = KEYS[1]
local content = ARGV[1]

--@ include lib_state lib_chunk

if redis.call('HEXISTS', content_key(domain, content), 'type') == 1 or content_free(domain, content) then
  return { 'ok' }
end
return { 'more' }
