#!lua flags=allow-oom
-- Delete a pipe, its joins and its messages. Deleting what is not there is fine.
local domain = KEYS[1]
local pipe = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]
local bounds = ARGV[4]

--@ include profiles lib_messaging lib_removal

local version = redis.call('HGET', pipe_key(domain, pipe), 'version')
if not version then
  return { 'missing' }
end
if is_stale(version, versions, unmodified) then
  return { 'stale' }
end
pipe_remove(domain, pipe)
settle_and_ring(domain)
return { 'ok' }
