#!lua flags=no-writes
-- A feed's description.
local domain = KEYS[1]
local feed = ARGV[1]

--@ include lib_state lib_feed

local record = feed_get(domain, feed)
if not record then
  return { 'missing' }
end
return { 'ok', feed_reply(feed, record) }
