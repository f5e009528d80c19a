-- A feed: its hash, and for a public one its place in the domain's list.

local FEED_FIELDS = { 'id', 'type', 'title', 'license', 'version', 'configured' }

local function feed_get(domain, feed)
  local values = redis.call('HMGET', domain .. ':feed:' .. feed, unpack(FEED_FIELDS))
  if not values[1] then
    return nil
  end
  local record = {}
  for i, name in ipairs(FEED_FIELDS) do
    record[name] = values[i]
  end
  return record
end

local function feed_reply(feed, record)
  return { feed, record.type, record.title, record.license, record.version, record.configured }
end

local function feed_is_public(feed)
  return string.sub(feed, 1, 1) ~= '~'
end

-- A feed's id is never used again, so that joins of a deleted feed can never
-- be taken for joins of a later one of the same name.
local function feed_add(domain, feed, kind, title, license, configured)
  local serial = redis.call('HINCRBY', domain, 'serial', 1)
  local record = {
    id = digits(serial), type = kind, title = title, license = license,
    version = digits(now), configured = configured,
  }
  redis.call('HSET', domain .. ':feed:' .. feed,
    'id', record.id, 'type', kind, 'title', title, 'license', license,
    'version', record.version, 'configured', configured)
  if feed_is_public(feed) then
    redis.call('ZADD', domain .. ':feeds', serial, feed)
    domain_changed(domain)
  end
  return record
end
