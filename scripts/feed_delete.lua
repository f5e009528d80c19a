#!lua flags=allow-oom
-- Delete a feed and its joins. Deleting what is not there is fine.
local domain = KEYS[1]
local feed = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]

--@ include profiles lib_state lib_pipe lib_join lib_feed lib_removal

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
redis.call('HINCRBY', domain, 'feeds', -1)
feed_remove(domain, feed, record.id)
if feed_is_public(feed) then
  domain_changed(domain)
end
return { 'ok' }
