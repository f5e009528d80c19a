#!lua flags=allow-oom
-- Delete a join. Deleting what is not there is fine; the one on `default` stays with its pipe.
local domain = KEYS[1]
local join = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]
local idle = ARGV[4]
local bounds = ARGV[5]

--@ include profiles lib_messaging lib_removal

local record = join_get(domain, join)
if not record then
  return { 'missing' }
end
if record.feed == 'default' then
  return { 'reserved' }
end
if is_stale(record.version, versions, unmodified) then
  return { 'stale' }
end
if works.many(domain) then
  return { 'busy' }
end
works.settle(domain, record.pipe) -- what was posted before is still for this join
pipes_flush(domain)
join_remove(domain, join)
feed_end(domain, record.feed)
pipe_touch(domain, record.pipe, tonumber(idle))
pipe_changed(domain, record.pipe)
settle_and_ring(domain)
return { 'ok' }
