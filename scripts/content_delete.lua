#!lua flags=allow-oom
-- Delete a staged content. A published one belongs to its message and is left alone.
local domain = KEYS[1]
local content = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]

--@ include lib_state lib_chunk

local state = redis.call('HMGET', content_key(domain, content), 'feed', 'version')
if state[1] then
  if is_stale(state[2], versions, unmodified) then
    return { 'stale' }
  end
  content_free(domain, content)
end
return { 'ok' }
