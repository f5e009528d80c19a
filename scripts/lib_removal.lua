-- Removing what may be large: at once out of sight, freed in chunks. What one
-- call does not finish stands in the set `trash`, which the sweep works off, or,
-- where others wait for it, in `returning`.

-- Free one chunk of a removed pipe's messages; whether more remain. What came
-- from a feed that queues goes back there.
local function stream_release(domain, pipe, queues)
  local stream = pipe_key(domain, pipe) .. ':messages'
  local more
  if queues then
    local entries = redis.call('XRANGE', stream, '-', '+', 'COUNT', CHUNK)
    for _, entry in ipairs(entries) do
      local fields = entry_fields(entry)
      if fields['q'] then
        queue.take_back(domain, pipe, entry, fields)
      else
        entry_release(domain, pipe, entry, fields)
      end
      redis.call('XDEL', stream, entry[1])
    end
    more = #entries == CHUNK
  else
    local _
    _, more = messages_release(domain, pipe, '+')
  end
  if not more then
    redis.call('UNLINK', stream)
  end
  return more
end

-- Free one chunk of what a removed feed had: its joins, and the messages that
-- waited in it, which go to its dead-letter feed if there is one.
local function feed_release(domain, id, key, dead_letter)
  local index = index_key(domain, id)
  if works.use(domain, index) then
    return true, true -- its last messages are still being handed out, by its joins
  end
  local joins = redis.call('SRANDMEMBER', index .. ':joins', CHUNK)
  for _, join in ipairs(joins) do
    local record = join_remove(domain, join)
    if record then
      pipe_changed(domain, record.pipe)
    else
      redis.call('SREM', index .. ':joins', join)
    end
  end
  local record = { id = id, key = key, dead_letter = dead_letter }
  local items = redis.call('ZRANGE', queue.key(domain, id), 0, CHUNK - 1)
  for _, item in ipairs(items) do
    local message = queue.item(domain, item)
    letter_write(domain, record, message, 'deleted')
    queue.drop(domain, id, item, message)
    body_release(domain, message.body)
  end
  local delayed = redis.call('ZRANGE', index .. ':delayed', 0, CHUNK - 1)
  for _, body in ipairs(delayed) do
    letter_write(domain, record, body_get(domain, body), 'deleted')
    redis.call('ZREM', index .. ':delayed', body)
    body_release(domain, body)
  end
  return math.max(#joins, #items, #delayed) == CHUNK
end

local function feed_remove(domain, record)
  local feed = record.key
  redis.call('HINCRBY', domain, 'feeds', -1)
  redis.call('DEL', domain .. ':feed:' .. feed)
  redis.call('ZREM', domain .. ':feeds', feed)
  redis.call('SREM', domain .. ':private', feed)
  redis.call('ZREM', domain .. ':delayed', feed)
  redis.call('SREM', domain .. ':queued', feed)
  stirred[feed] = nil
  if record.dead_letter ~= '' and queue.held(domain) then
    -- Some of what comes back may be of this feed: it is to go where the rest goes.
    redis.call('HSET', domain .. ':ended', record.id, record.dead_letter)
  end
  if feed_release(domain, record.id, feed, record.dead_letter) then
    local item = table.concat({ 'feed', record.id, feed, record.dead_letter }, ' ')
    redis.call('SADD', domain .. ':trash', item)
  end
  ring(domain .. ':feed:' .. feed)
  if feed_is_public(feed) then
    domain_changed(domain)
  end
end

-- A service is there as long as somebody is joined to it.
local function feed_end(domain, feed)
  local record = feed_get(domain, feed)
  local kind = record and feed_types[record.type]
  if kind and kind.ends and record.configured ~= '1'
    and redis.call('EXISTS', index_key(domain, record.id) .. ':joins') == 0 then
    feed_remove(domain, record)
  end
end

local function pipe_remove(domain, pipe)
  local key = pipe_key(domain, pipe)
  local state = redis.call('HMGET', key, 'last', 'shared', 'queues')
  if state[1] then
    local feeds = {}
    for _, join in ipairs(redis.call('HVALS', key .. ':joins')) do
      local record = join_remove(domain, join)
      local kind = record and feed_types[record.kind]
      if kind and kind.ends then
        feeds[#feeds + 1] = record.feed
      end
    end
    redis.call('UNLINK', key, key .. ':joins', key .. ':dropped')
    pipe_ring(domain, pipe, tonumber(state[1]))
    if state[3] then
      if stream_release(domain, pipe, true) then
        redis.call('HSET', domain .. ':returning', pipe, table.concat(feeds, ' '))
        due_ring(domain)
      else
        for _, feed in ipairs(feeds) do
          feed_end(domain, feed)
        end
      end
    elseif tonumber(state[2]) == 0 then
      redis.call('UNLINK', key .. ':messages')
    elseif stream_release(domain, pipe) then
      redis.call('SADD', domain .. ':trash', 'messages ' .. pipe)
    end
  end
  redis.call('ZREM', domain .. ':idle', pipe)
end

-- Go on with what a removed pipe held of feeds that queue.
local function return_continue(domain)
  local pipe, feeds = unpack(redis.call('HRANDFIELD', domain .. ':returning', 1, 'WITHVALUES'))
  if not pipe or stream_release(domain, pipe, true) then
    return
  end
  redis.call('HDEL', domain .. ':returning', pipe)
  if not queue.held(domain) then
    redis.call('DEL', domain .. ':ended')
  end
  for feed in string.gmatch(feeds, '%S+') do
    feed_end(domain, feed)
  end
end

local SIFTED = 10 -- pieces of trash that are looked at, for one that works do not use any more

-- Free one chunk of the trash; whether there is more to do at once.
local function trash_release(domain)
  for _, item in ipairs(redis.call('SRANDMEMBER', domain .. ':trash', SIFTED)) do
    local what, which = string.match(item, '^(%a+) (.+)$')
    local more, used
    if what == 'messages' then
      more = stream_release(domain, which)
    else
      local id, key, dead_letter = string.match(which, '^(%S+) (%S+) (%S*)$')
      if id then
        more, used = feed_release(domain, id, key, dead_letter)
      end
    end
    if not more then
      redis.call('SREM', domain .. ':trash', item)
    end
    if not used then
      return redis.call('EXISTS', domain .. ':trash') == 1
    end
  end
  return false
end

-- Free contents that nobody published, and what is left of others; whether there is more to do at once.
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
