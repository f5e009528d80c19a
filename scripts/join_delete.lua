#!lua flags=allow-oom
-- Delete a join. Deleting what is not there is fine; the one on `default` stays with its pipe.
local domain = KEYS[1]
local join = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]
local idle = ARGV[4]

--@ include profiles lib_state lib_pipe lib_join

local record = join_get(domain, join)
if not record then
  return { 'ok' }
end
if record.feed == 'default' then
  return { 'reserved' }
end
if is_stale(record.version, versions, unmodified) then
  return { 'stale' }
end
join_remove(domain, join)
pipe_touch(domain, record.pipe, tonumber(idle))
pipe_changed(domain, record.pipe)
return { 'ok' }
