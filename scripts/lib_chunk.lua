-- The bytes of a content. A small content has them in its own hash (`data`), which
-- can expire by itself. A larger one has them in keys of their own, `chunks` of them
-- from 0 on. As long as it belongs to no message it stands in the set `loose`, by the
-- time (ms) when it is to be freed: so nothing is left for ever of an upload, however
-- it ended. While it is uploaded, and while it is freed in several calls, its hash has
-- the number of chunks only, and nobody finds it.

local FREED = 32 -- chunks freed in one call, so that Redis never stalls
local LIGHT = 65536 -- bytes; freeing a content of no more is nothing

local freeable = FREED

local function content_key(domain, content)
  return domain .. ':content:' .. content
end

local function chunk_key(domain, content, place)
  return content_key(domain, content) .. ':' .. digits(place)
end

-- It belongs to a message now: it does not expire, and cannot be named again.
local function content_publish(domain, content)
  local key = content_key(domain, content)
  redis.call('PERSIST', key)
  redis.call('ZREM', domain .. ':loose', content)
  redis.call('HDEL', key, 'feed', 'id')
end

-- Out of sight at once; whether it is all freed. What is left is due to be.
local function content_free(domain, content)
  local key = content_key(domain, content)
  local state = redis.call('HMGET', key, 'chunks', 'size')
  local chunks = tonumber(state[1] or 0)
  local pieces = chunks
  if chunks == 0 and tonumber(state[2] or 0) > LIGHT then
    pieces = 1 -- its hash, with as much as a chunk
  end
  local left = math.max(0, pieces - freeable)
  freeable = freeable - (pieces - left)
  for place = left, chunks - 1 do
    redis.call('UNLINK', chunk_key(domain, content, place))
  end
  if left > 0 then
    redis.call('HDEL', key, 'type', 'size', 'version', 'feed', 'id')
    if chunks > 0 then
      redis.call('HSET', key, 'chunks', left)
    end
    redis.call('ZADD', domain .. ':loose', 0, content)
    return false
  end
  redis.call('UNLINK', key)
  if chunks > 0 then
    redis.call('ZREM', domain .. ':loose', content)
  end
  return true
end
