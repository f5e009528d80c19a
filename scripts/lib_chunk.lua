-- The bytes of a content. A small content has them in its own hash (`data`), which
-- can expire by itself. A larger one has them in keys of their own, `chunks` of them
-- from 0 on. As long as it belongs to no message it stands in the set `loose`, by the
-- time (ms) when it is to be freed: so nothing is left for ever of an upload, however
-- it ended. While it is uploaded, and while it is freed in several calls, its hash has
-- the number of chunks only, and nobody finds it.

local FREED = 200 -- chunks freed in one call, so that Redis never stalls

local freeable = FREED

local function content_key(domain, content)
  return domain .. ':content:' .. content
end

local function chunk_key(domain, content, place)
  return content_key(domain, content) .. ':' .. string.format('%.0f', place)
end

-- A content that belongs to no message is kept for so many ms from now.
local function content_keep(domain, content, milliseconds)
  redis.call('ZADD', domain .. ':loose', string.format('%.0f', now_ms + milliseconds), content)
end

-- A whole content, for whoever may name it: found from here on.
local function content_write(domain, content, source, type, size)
  redis.call('HSET', content_key(domain, content), 'type', type, 'size', size,
    'feed', source.key, 'id', source.id, 'version', string.format('%.0f', now))
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
  local chunks = tonumber(redis.call('HGET', key, 'chunks') or 0)
  local first = math.max(0, chunks - freeable)
  freeable = freeable - (chunks - first)
  for place = first, chunks - 1 do
    redis.call('UNLINK', chunk_key(domain, content, place))
  end
  if first == 0 then
    redis.call('UNLINK', key)
    if chunks > 0 then
      redis.call('ZREM', domain .. ':loose', content)
    end
    return true
  end
  redis.call('HDEL', key, 'type', 'size', 'version', 'feed', 'id')
  redis.call('HSET', key, 'chunks', first)
  redis.call('ZADD', domain .. ':loose', 0, content)
  return false
end

-- Free contents that are due; whether there is more to do at once.
local function contents_sweep(domain)
  local due = redis.call('ZRANGEBYSCORE', domain .. ':loose', '-inf', now_ms, 'LIMIT', 0, FREED)
  for _, content in ipairs(due) do
    if not content_free(domain, content) then
      return true
    end
    redis.call('ZREM', domain .. ':loose', content)
  end
  return #due == FREED
end
