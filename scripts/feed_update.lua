#!lua
-- Change a feed's attributes. `changes` is pairs of field and value; `dead_letter`,
-- the feed named among them, must exist.
local domain = KEYS[1]
local feed = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]
local type = ARGV[4]
local dead_letter = ARGV[5]
local by = ARGV[6]
local changes = 7 -- ARGV from here on: field, value

--@ include lib_state lib_feed

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
if type ~= '' and type ~= record.type then
  return { 'type_differs' }
end
local changed = false
if dead_letter ~= '' and not feed_get(domain, dead_letter) then
  return { 'no_feed' }
end
for i = changes, #ARGV, 2 do
  if record[ARGV[i]] ~= ARGV[i + 1] then
    record[ARGV[i]] = ARGV[i + 1]
    changed = true
  end
end
if changed then
  feed_change(domain, record)
end
return { 'ok', feed_reply(feed, record) }
