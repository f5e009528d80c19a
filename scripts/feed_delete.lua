#!lua flags=allow-oom
-- Delete a feed and its joins. Deleting what is not there is fine.
local domain = KEYS[1]
local feed = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]
local bounds = ARGV[4]

--@ include profiles lib_messaging lib_removal

local record = feed_get(domain, feed)
if not record then
  return { 'ok' }
end
if record.configured == '1' then
  return { 'configured' }
end
if is_stale(record.version, versions, unmodified) then
  return { 'stale' }
end
feed_remove(domain, record)
settle_and_ring(domain)
return { 'ok' }
