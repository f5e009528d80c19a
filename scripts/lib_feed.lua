-- A feed: its hash, and for a public one its place in the domain's list.

local FEED_FIELDS = {
  'id', 'type', 'title', 'license', 'version', 'configured', 'dead_letter', 'dedup',
}

local function feed_get(domain, feed)
  local values = redis.call('HMGET', domain .. ':feed:' .. feed, unpack(FEED_FIELDS))
  if not values[1] then
    return nil
  end
  local record = { key = feed }
  for i, name in ipairs(FEED_FIELDS) do
    record[name] = values[i] or ''
  end
  return record
end

local function feed_reply(feed, record)
  return {
    feed, record.type, record.title, record.license, record.version, record.configured,
    record.dead_letter, record.dedup,
  }
end

local function feed_is_public(feed)
  return string.sub(feed, 1, 1) ~= '~'
end

local function feed_write(domain, record)
  for _, name in ipairs(FEED_FIELDS) do
    redis.call('HSET', domain .. ':feed:' .. record.key, name, record[name])
  end
end

local function feed_change(domain, record)
  record.version = digits(next_version(record.version))
  feed_write(domain, record)
  ring(domain .. ':feed:' .. record.key)
  if feed_is_public(record.key) then
    domain_changed(domain)
  end
end

-- A feed's id is never used again, so that joins of a deleted feed can never
-- be taken for joins of a later one of the same name.
local function feed_add(domain, record)
  local feed = record.key
  local serial = redis.call('HINCRBY', domain, 'serial', 1)
  record.id, record.version = digits(serial), digits(now)
  feed_write(domain, record)
  if feed_is_public(feed) then
    redis.call('ZADD', domain .. ':feeds', serial, feed)
    domain_changed(domain)
  else
    redis.call('SADD', domain .. ':private', feed)
  end
  return record
end

-- Of a public feed its owner's tag is kept, where somebody known made it: apart from
-- what publishing must know. A private feed has it in its name.
local function feed_own(domain, feed, owner)
  if owner ~= '' and feed_is_public(feed) then
    redis.call('HSET', domain .. ':feed:' .. feed, 'owner', owner)
  end
end

-- Whether somebody with that tag may change the feed: anybody, where nobody owns it.
local function feed_is_of(domain, feed, by)
  if by == 'anybody' then
    return true
  end
  local owner = redis.call('HGET', domain .. ':feed:' .. feed, 'owner')
  return not owner or owner == by
end
