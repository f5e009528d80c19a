-- A join: its hash, its place in the feed's index, its place in the pipe.

local function index_key(domain, id)
  return domain .. ':index:' .. id
end

-- What makes two joins of one pipe the same join.
local function join_selector(id, kind, address, headers)
  return table.concat({ id, kind, address, headers }, '\0')
end

local JOIN_FIELDS = {
  'pipe', 'feed', 'id', 'kind', 'type', 'address', 'headers', 'match', 'serial', 'version',
}

local function turns_key(domain, id)
  return index_key(domain, id) .. ':turns'
end

local function called_key(domain, id)
  return index_key(domain, id) .. ':called'
end

local function next_turn(domain)
  return redis.call('HINCRBY', domain, 'turn', 1)
end

-- `pulls`: the pipe takes its messages itself, when it is read.
local function join_add(domain, join, record, pulls)
  for _, name in ipairs(JOIN_FIELDS) do
    redis.call('HSET', domain .. ':join:' .. join, name, record[name])
  end
  local key = pipe_key(domain, record.pipe)
  redis.call('HSET', key .. ':joins',
    join_selector(record.id, record.type, record.address, record.headers), join)
  local index = index_key(domain, record.id)
  redis.call('SADD', index .. ':joins', join)
  local kind = feed_types[record.kind]
  if not kind.queues then
    kind.join(index, record.pipe, record)
    return
  end
  redis.call('HSET', key, 'queues', 1) -- for good: it may hold such messages longer than the join
  if not pulls then
    redis.call('ZADD', turns_key(domain, record.id), next_turn(domain), '!' .. record.pipe .. ' ' .. join)
  end
end

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
  local kind = feed_types[record.kind]
  if kind.queues then
    local place = record.pipe .. ' ' .. join
    redis.call('ZREM', turns_key(domain, record.id), '!' .. place, '?' .. place)
    redis.call('ZREM', called_key(domain, record.id), record.pipe)
  else
    kind.unjoin(index, record.pipe, record)
  end
  redis.call('SREM', index .. ':joins', join)
  redis.call('HDEL', pipe_key(domain, record.pipe) .. ':joins',
    join_selector(record.id, record.type, record.address, record.headers))
  redis.call('DEL', domain .. ':join:' .. join)
  ring(domain .. ':join:' .. join)
  return record
end
