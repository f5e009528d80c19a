#!lua
-- Change a feed's title and license. `changes` is pairs of field and value.
local domain = KEYS[1]
local feed = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]
local type = ARGV[4]
local changes = 5 -- ARGV from here on: field, value

--@ include lib_state lib_feed

local record = feed_get(domain, feed)
if not record then
  return { 'missing' }
end
if record.configured == '1' then
  return { 'configured' }
end
if is_stale(record.version, versions, unmodified) then
  return { 'stale' }
end
if type ~= '' and type ~= record.type then
  return { 'type_differs' }
end
local changed = false
for i = changes, #ARGV, 2 do
  if record[ARGV[i]] ~= ARGV[i + 1] then
    record[ARGV[i]] = ARGV[i + 1]
    changed = true
  end
end
if changed then
  record.version = digits(next_version(record.version))
  redis.call('HSET', domain .. ':feed:' .. feed,
    'title', record.title, 'license', record.license, 'version', record.version)
  ring(domain .. ':feed:' .. feed)
  if feed_is_public(feed) then
    domain_changed(domain)
  end
end
return { 'ok', feed_reply(feed, record) }
