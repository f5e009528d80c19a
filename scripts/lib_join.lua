-- A join: its hash, its place in the feed's index, its place in the pipe.

local function index_key(domain, id)
  return domain .. ':index:' .. id
end

-- What makes two joins of one pipe the same join.
local function join_selector(id, kind, address, headers)
  return table.concat({ id, kind, address, headers }, '\0')
end

local function join_add(domain, join, record)
  redis.call('HSET', domain .. ':join:' .. join,
    'pipe', record.pipe, 'feed', record.feed, 'id', record.id, 'kind', record.kind,
    'type', record.type, 'address', record.address, 'headers', record.headers,
    'serial', record.serial, 'version', record.version)
  redis.call('HSET', pipe_key(domain, record.pipe) .. ':joins',
    join_selector(record.id, record.type, record.address, record.headers), join)
  local index = index_key(domain, record.id)
  redis.call('SADD', index .. ':joins', join)
  feed_types[record.kind].join(index, record.pipe, record)
end

local JOIN_FIELDS = { 'pipe', 'feed', 'id', 'kind', 'type', 'address', 'headers', 'serial', 'version' }

local function join_get(domain, join)
  local values = redis.call('HMGET', domain .. ':join:' .. join, unpack(JOIN_FIELDS))
  if not values[1] then
    return nil
  end
  local record = {}
  for i, name in ipairs(JOIN_FIELDS) do
    record[name] = values[i]
  end
  return record
end

-- The joins of a deleted feed are freed in chunks, but none is seen any more.
local function join_live(domain, join)
  local record = join_get(domain, join)
  if record and redis.call('HGET', domain .. ':feed:' .. record.feed, 'id') == record.id then
    return record
  end
  return nil
end

local function join_reply(join, record)
  return { join, record.pipe, record.feed, record.type, record.address, record.headers, record.version }
end

local function join_remove(domain, join)
  local record = join_get(domain, join)
  if not record then
    return
  end
  local index = index_key(domain, record.id)
  feed_types[record.kind].unjoin(index, record.pipe, record)
  redis.call('SREM', index .. ':joins', join)
  redis.call('HDEL', pipe_key(domain, record.pipe) .. ':joins',
    join_selector(record.id, record.type, record.address, record.headers))
  redis.call('DEL', domain .. ':join:' .. join)
  ring(domain .. ':join:' .. join)
  return record
end

-- Remove one chunk of the joins of a feed that is gone; whether more remain.
local function joins_release(domain, id)
  local key = index_key(domain, id) .. ':joins'
  local joins = redis.call('SRANDMEMBER', key, CHUNK)
  for _, join in ipairs(joins) do
    local record = join_remove(domain, join)
    if record then
      pipe_changed(domain, record.pipe)
    else
      redis.call('SREM', key, join)
    end
  end
  return redis.call('EXISTS', key) == 1
end
