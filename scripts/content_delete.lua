#!lua flags=allow-oom
-- Delete a staged content. A published one belongs to its message and is left alone.
local domain = KEYS[1]
local content = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]

--@ include lib_state

local key = domain .. ':content:' .. content
local state = redis.call('HMGET', key, 'feed', 'version')
if state[1] then
  if is_stale(state[2], versions, unmodified) then
    return { 'stale' }
  end
  redis.call('UNLINK', key)
end
return { 'ok' }
