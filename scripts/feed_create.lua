#!lua
-- Create a feed; one that exists is answered as it stands.
local domain = KEYS[1]
local feed = ARGV[1]
local type = ARGV[2]
local title = ARGV[3]
local license = ARGV[4]
local dead_letter = ARGV[5]
local dedup = ARGV[6]
local most = ARGV[7]
local owner = ARGV[8]

--@ include profiles lib_state lib_feed

if redis.call('EXISTS', domain) == 0 then
  return { 'missing' }
end
local present = feed_get(domain, feed)
if present then
  -- Clients may well "create" a configured feed under a type of their own; it stays as it is.
  if present.configured ~= '1' and present.type ~= type then
    return { feed_types[type] and 'type_differs' or 'unknown_type' }
  end
  return { 'exists', feed_reply(feed, present) }
end
if not feed_types[type] then
  return { 'unknown_type' }
end
if dead_letter ~= '' and not feed_get(domain, dead_letter) then
  return { 'no_feed' }
end
-- Private feeds have no list: the domain counts them all.
if redis.call('HINCRBY', domain, 'feeds', 0) >= tonumber(most) then
  return { 'too_many' }
end
redis.call('HINCRBY', domain, 'feeds', 1)
local record = feed_add(domain, {
  key = feed, type = type, title = title, license = license, configured = '0',
  dead_letter = dead_letter, dedup = dedup,
})
feed_own(domain, feed, owner)
return { 'ok', feed_reply(feed, record) }
