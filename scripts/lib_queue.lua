-- A feed that queues (rotator, service) gives each message to one join.
--
-- `turns` has the joins that could take one, whoever was served longest ago
-- first: those of plain pipes (`!pipe join`), and those of ondemand pipes with a
-- reader who waits for a message (`?pipe join`). A plain pipe is given its
-- message. An ondemand pipe is only called: its reader comes and takes the
-- first message there is, so nothing is handed to one who has gone.
--
-- `queue` has the messages that wait, as `body redelivered death`, by priority
-- and age. A message that comes back has its old place.

local TRIES = 100 -- full pipes passed over in search of one that is not
local DISPATCHED = 1000 -- messages handed out in one call
local CALM = 1e14 -- more than there will ever be messages of one priority

local stirred = {} -- feeds that may have something to hand out, by key
local letters = {} -- messages that nobody got: for the dead-letter feeds

local function queue_key(domain, id)
  return index_key(domain, id) .. ':queue'
end

-- Where what a deleted pipe held is on its way back, nothing is handed out:
-- it would be out of order.
local function queues_held(domain)
  return redis.call('EXISTS', domain .. ':returning') == 1
end

local function item_name(message)
  return message.body .. ' ' .. message.redelivered .. ' ' .. message.death
end

-- A dead letter does not expire again, whatever its body says.
local function message_marked(message, redelivered, death)
  message.redelivered, message.death = tonumber(redelivered), death
  if death ~= '' then
    message.expires = 0
  end
  return message
end

local function item_message(domain, item)
  local body, redelivered, death = string.match(item, '^(%S+) (%d+) (.*)$')
  return message_marked(body_get(domain, body), redelivered, death)
end

-- Among those that will expire: its feed's id, its name in the queue.
local function item_expiry(id, item)
  return 'q ' .. id .. ' ' .. item
end

-- Report a message that nobody got to the dead-letter feed of its feed, if that
-- has one. It is routed when the transition is done with what it does.
local function letter_write(domain, record, message, reason, times)
  if record.dead_letter == '' then
    return false
  end
  if message.body then
    body_hold(domain, message.body, 1)
  end
  letters[#letters + 1] = {
    feed = record.dead_letter, message = message, reason = reason, from = record.key, times = times or 1,
  }
  return true
end

-- What is too late to be delivered is a dead letter, or nothing.
local function expired(domain, record, message)
  if message.expires == 0 or message.expires > now_ms then
    return false
  end
  letter_write(domain, record, message, 'expired')
  return true
end

local function queue_put(domain, record, message, score)
  local item = item_name(message)
  redis.call('ZADD', queue_key(domain, record.id), score, item)
  if message.expires > 0 then
    redis.call('ZADD', domain .. ':expiring', digits(message.expires), item_expiry(record.id, item))
  end
  stirred[record.key] = record
end

local function queue_drop(domain, id, item, message)
  redis.call('ZREM', queue_key(domain, id), item)
  if message.expires > 0 then
    redis.call('ZREM', domain .. ':expiring', item_expiry(id, item))
  end
end

local function queue_score(domain, priority)
  return digits((9 - priority) * CALM + redis.call('HINCRBY', domain, 'serial', 1))
end

local function turn_name(score, record)
  return score .. ' ' .. record.id .. ' ' .. record.key
end

-- The pipe whose turn it is, or nil. Where it is an ondemand pipe's turn, that is
-- called, or with `plain` left alone.
local function turn_take(domain, record, plain)
  local turns = turns_key(domain, record.id)
  for _ = 1, math.min(TRIES, redis.call('ZCARD', turns)) do
    local name = redis.call('ZRANGE', turns, 0, 0)[1]
    local kind, pipe = string.match(name, '^(.)(%x+) ')
    if kind == '?' then
      if plain then
        return nil
      end
      redis.call('ZREM', turns, name)
      local last = redis.call('HGET', pipe_key(domain, pipe), 'last')
      pipe_ring(domain, pipe, tonumber(last))
      return 'called'
    end
    redis.call('ZADD', turns, next_turn(domain), name)
    local state = pipe_state(domain, pipe)
    works_owe(domain, state)
    if state.room > 0 then
      state.room = state.room - 1
      return state
    end
  end
  return nil
end

-- Hand out what waits in a queue, oldest first, as far as there is somebody to
-- take it. Feeds that could not be finished are remembered in `queued`.
local function queue_dispatch(domain, record)
  local queue, place = queue_key(domain, record.id), 0
  local waiting = redis.call('ZCARD', queue)
  local held = waiting > 0 and (queues_held(domain) or works_count(domain) > WORKS_OWING)
  local tries = 0
  while not held and place < waiting and tries < DISPATCHED do
    tries = tries + 1
    local item, score = unpack(redis.call('ZRANGE', queue, place, place, 'WITHSCORES'))
    local message = item_message(domain, item)
    if expired(domain, record, message) then
      queue_drop(domain, record.id, item, message)
      body_release(domain, message.body)
      waiting = waiting - 1
    else
      local taker = turn_take(domain, record)
      if not taker then
        break
      elseif taker == 'called' then
        place = place + 1 -- it waits for who was called, and else for the next round
      else
        queue_drop(domain, record.id, item, message)
        hand(domain, taker, message, turn_name(digits(score), record))
        waiting = waiting - 1
      end
    end
  end
  if waiting > 0 and (held or redis.call('EXISTS', turns_key(domain, record.id)) == 1) then
    redis.call('SADD', domain .. ':queued', record.key)
  else
    redis.call('SREM', domain .. ':queued', record.key)
  end
  return tries == DISPATCHED
end

-- The joins of a pipe to feeds that queue, whoever was served longest ago first.
local function queue_joins(domain, pipe)
  local list = {}
  for _, join in ipairs(redis.call('HVALS', pipe_key(domain, pipe) .. ':joins')) do
    local record = join_live(domain, join)
    if record and feed_types[record.kind].queues then
      record.turn = tonumber(redis.call('HGET', domain .. ':join:' .. join, 'turn') or 0)
      record.join = join
      list[#list + 1] = record
    end
  end
  table.sort(list, function(a, b) return a.turn < b.turn end)
  return list
end

-- An ondemand pipe takes the next message of its feeds; whether there was one.
-- Where there is none and its reader `waits`, it is called when there is.
local function queue_pull(domain, pipe, waits)
  local joins = queue_joins(domain, pipe)
  if not queues_held(domain) then
    for _, join in ipairs(joins) do
      local record = feed_get(domain, join.feed)
      local queue = queue_key(domain, record.id)
      local item, score = unpack(redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES'))
      while item do
        local message = item_message(domain, item)
        local late = expired(domain, record, message)
        queue_drop(domain, record.id, item, message)
        if not late then
          hand(domain, pipe_state(domain, pipe), message, turn_name(digits(score), record))
          redis.call('HSET', domain .. ':join:' .. join.join, 'turn', next_turn(domain))
          for _, other in ipairs(joins) do
            redis.call('ZREM', turns_key(domain, other.id), '?' .. pipe .. ' ' .. other.join)
          end
          return true
        end
        body_release(domain, message.body)
        item, score = unpack(redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES'))
      end
    end
  end
  if waits then
    for _, join in ipairs(joins) do
      redis.call('ZADD', turns_key(domain, join.id), join.turn, '?' .. pipe .. ' ' .. join.join)
      if queues_held(domain) then
        redis.call('SADD', domain .. ':queued', join.feed)
      end
    end
  end
  return false
end

-- What a pipe that goes away held of a feed's messages goes back to that feed.
local function queue_return(domain, pipe, entry, fields)
  local score, id, key = string.match(fields['q'], '^(%S+) (%S+) (.+)$')
  local record = feed_get(domain, key)
  if not record or record.id ~= id then
    entry_release(domain, pipe, entry, fields)
    return
  end
  local message
  if fields['b'] then
    message = body_get(domain, fields['b'])
    if fields['e'] then
      redis.call('ZREM', domain .. ':expiring', entry_name(pipe, entry))
    end
  else
    message = {
      address = fields['a'], id = fields['i'], blob = fields['m'], contents = '',
      headers = fields['h'] or '', feed = id .. ' ' .. key, expires = 0,
      priority = 9 - math.floor(tonumber(score) / CALM),
    }
    body_store(domain, 'r' .. redis.call('HINCRBY', domain, 'serial', 1), message, 1)
  end
  message_marked(message, (fields['r'] or 0) + 1, fields['d'] or '')
  local dead = expired(domain, record, message)
    or (message.redelivered > redeliveries and letter_write(domain, record, message, 'redelivered'))
  if dead then
    body_release(domain, message.body)
  else
    queue_put(domain, record, message, score)
  end
end
