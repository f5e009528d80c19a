-- A request that is to take effect once. `once` is a digest of the client's key
-- for it and one of the request, or empty; the answer is kept for repeats.

local function once_parts(domain, feed_id, once)
  local name, request = string.match(once, '^(%x+) (%x+)$')
  return domain .. ':once:' .. feed_id .. ':' .. name, request
end

-- The answer to the first such request, if there was one; false where that was another.
local function once_answer(domain, feed_id, once)
  if once == '' then
    return nil
  end
  local key, request = once_parts(domain, feed_id, once)
  local kept = redis.call('HMGET', key, 'request', 'answer')
  if not kept[1] then
    return nil
  end
  return kept[1] == request and cmsgpack.unpack(kept[2])
end

local function once_keep(domain, feed_id, once, answer, keep)
  if once ~= '' then
    local key, request = once_parts(domain, feed_id, once)
    redis.call('HSET', key, 'request', request, 'answer', cmsgpack.pack(answer))
    redis.call('PEXPIRE', key, keep)
  end
end
