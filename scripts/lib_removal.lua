-- Removing what may be large: at once out of sight, freed in chunks. What one
-- call does not finish stands in the set `trash`, which the sweep works off.

-- Free one chunk of a removed pipe's messages; whether more remain.
local function stream_release(domain, pipe)
  local stream = pipe_key(domain, pipe) .. ':messages'
  local _, more = messages_release(domain, stream, '+')
  if not more then
    redis.call('UNLINK', stream)
  end
  return more
end

local function pipe_remove(domain, pipe)
  local key = pipe_key(domain, pipe)
  local state = redis.call('HMGET', key, 'last', 'shared')
  if state[1] then
    for _, join in ipairs(redis.call('HVALS', key .. ':joins')) do
      join_remove(domain, join)
    end
    redis.call('UNLINK', key, key .. ':joins', key .. ':dropped')
    pipe_ring(domain, pipe, tonumber(state[1]))
    if tonumber(state[2]) == 0 then
      redis.call('UNLINK', key .. ':messages')
    elseif stream_release(domain, pipe) then
      redis.call('SADD', domain .. ':trash', 'messages ' .. pipe)
    end
  end
  redis.call('ZREM', domain .. ':idle', pipe)
end

local function feed_remove(domain, feed, id)
  redis.call('DEL', domain .. ':feed:' .. feed)
  redis.call('ZREM', domain .. ':feeds', feed)
  if joins_release(domain, id) then
    redis.call('SADD', domain .. ':trash', 'joins ' .. id)
  end
  ring(domain .. ':feed:' .. feed)
end

local function trash_release(domain)
  local item = redis.call('SRANDMEMBER', domain .. ':trash')
  if not item then
    return false
  end
  local what, which = string.match(item, '^(%a+) (.+)$')
  local more
  if what == 'messages' then
    more = stream_release(domain, which)
  else
    more = joins_release(domain, which)
  end
  if not more then
    redis.call('SREM', domain .. ':trash', item)
  end
  return redis.call('EXISTS', domain .. ':trash') == 1
end
