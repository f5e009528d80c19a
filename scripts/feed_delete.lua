#!lua flags=allow-oom
-- Delete a feed and its joins. Deleting what is not there is fine.
local domain = KEYS[1]
local feed = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]
local bounds = ARGV[4]
local by = ARGV[5]

--@ include profiles lib_messaging lib_removal

local record = feed_get(domain, feed)
if not record then
  return { 'missing' }
end
if record.configured == '1' then
  return { 'configured' }
end
if not feed_is_of(domain, feed, by) then
  return { 'not_owner' }
end
if is_stale(record.version, versions, unmodified) then
  return { 'stale' }
end
feed_remove(domain, record)
settle_and_ring(domain)
return { 'ok' }
