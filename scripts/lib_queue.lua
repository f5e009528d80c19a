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

local TRIES = 1000 -- full pipes passed over in one call, in search of one that is not
local DISPATCHED = 1000 -- messages handed out in one call, of all feeds together
local CALLED = 250 -- ms for which a message is left to an ondemand pipe that was called
local CALM = 1e14 -- more than there will ever be messages of one priority

local tried, dispatched = 0, 0
local stirred = {} -- feeds that may have something to hand out, by key

local queue = module(function(queue)
  function queue.key(domain, id)
    return index_key(domain, id) .. ':queue'
  end

  -- Where what a deleted pipe held is on its way back, nothing is handed out:
  -- it would be out of order.
  function queue.held(domain)
    return redis.call('EXISTS', domain .. ':returning') == 1
  end

  local function item_name(message)
    return message.body .. ' ' .. message.redelivered .. ' ' .. message.death
  end

  -- A dead letter does not expire again, whatever its body says.
  function queue.marked(message, redelivered, death)
    message.redelivered, message.death = tonumber(redelivered), death
    if death ~= '' then
      message.expires = 0
    end
    return message
  end

  function queue.item(domain, item)
    local body, redelivered, death = string.match(item, '^(%S+) (%d+) (.*)$')
    return queue.marked(body_get(domain, body), redelivered, death)
  end

  -- Among those that will expire: its feed's id, its name in the queue.
  local function item_expiry(id, item)
    return 'q ' .. id .. ' ' .. item
  end

  function queue.put(domain, record, message, score)
    local item = item_name(message)
    redis.call('ZADD', queue.key(domain, record.id), score, item)
    if message.expires > 0 then
      redis.call('ZADD', domain .. ':expiring', digits(message.expires), item_expiry(record.id, item))
    end
    stirred[record.key] = record
  end

  function queue.drop(domain, id, item, message)
    redis.call('ZREM', queue.key(domain, id), item)
    if message.expires > 0 then
      redis.call('ZREM', domain .. ':expiring', item_expiry(id, item))
    end
  end

  function queue.score(domain, priority)
    return digits((9 - priority) * CALM + redis.call('HINCRBY', domain, 'serial', 1))
  end

  -- Since when (microseconds) a message waits, for whoever asks how old the oldest is.
  function queue.since(domain, message, time)
    redis.call('HSET', body_key(domain, message.body), 't', time)
  end

  function queue.origin(score, record)
    return score .. ' ' .. record.id .. ' ' .. record.key
  end

  -- Ondemand pipes that were called, by the time (ms) until which they are waited
  -- for: so many messages, the first ones, are left to them.
  local function call(domain, id, pipe)
    local key = called_key(domain, id)
    redis.call('ZADD', key, digits(now_ms + CALLED), pipe)
    redis.call('PEXPIRE', key, CALLED)
  end

  local function calls(domain, id)
    return redis.call('ZCOUNT', called_key(domain, id), '(' .. digits(now_ms), '+inf')
  end

  -- The pipe whose turn it is, or nil. Where it is an ondemand pipe's turn, that is
  -- called, or with `plain` left alone.
  function queue.turn(domain, record, plain)
    local turns = turns_key(domain, record.id)
    for _ = 1, math.min(TRIES - tried, redis.call('ZCARD', turns)) do
      local name = redis.call('ZRANGE', turns, 0, 0)[1]
      local kind, pipe = string.match(name, '^(.)(%x+) ')
      if kind == '?' then
        if plain then
          return nil
        end
        redis.call('ZREM', turns, name)
        local last = redis.call('HGET', pipe_key(domain, pipe), 'last')
        pipe_ring(domain, pipe, tonumber(last))
        call(domain, record.id, pipe)
        return 'called'
      end
      redis.call('ZADD', turns, next_turn(domain), name)
      local state = pipe_state(domain, pipe)
      owe(domain, state)
      if state.room > 0 then
        state.room = state.room - 1
        return state
      end
      tried = tried + 1
    end
    return nil
  end

  -- What is too late to be delivered is a dead letter, or nothing.
  local function expired(domain, record, message)
    if message.expires == 0 or message.expires > now_ms then
      return false
    end
    tell('expired', 1)
    letter_write(domain, record, message, 'expired')
    return true
  end

  -- Hand out what waits in a queue, oldest first, as far as there is somebody to
  -- take it. Feeds that could not be finished are remembered in `queued`.
  function queue.dispatch(domain, record)
    local waits = queue.key(domain, record.id)
    local waiting = redis.call('ZCARD', waits)
    local place = waiting > 0 and calls(domain, record.id) or 0
    local held = waiting > 0 and (queue.held(domain) or works.many(domain))
    while not held and place < waiting and dispatched < DISPATCHED do
      dispatched = dispatched + 1
      local item, score = unpack(redis.call('ZRANGE', waits, place, place, 'WITHSCORES'))
      local message = queue.item(domain, item)
      if expired(domain, record, message) then
        queue.drop(domain, record.id, item, message)
        body_release(domain, message.body)
        waiting = waiting - 1
      else
        local taker = queue.turn(domain, record)
        if not taker then
          break
        elseif taker == 'called' then
          place = place + 1 -- it waits for who was called, and else for the next round
        else
          queue.drop(domain, record.id, item, message)
          hand(domain, taker, message, queue.origin(digits(score), record))
          waiting = waiting - 1
        end
      end
    end
    if waiting > 0 and (held or redis.call('EXISTS', turns_key(domain, record.id)) == 1) then
      redis.call('SADD', domain .. ':queued', record.key)
    else
      redis.call('SREM', domain .. ':queued', record.key)
    end
    return dispatched == DISPATCHED and place < waiting and not held
  end

  -- The joins of a pipe to feeds that queue, whoever was served longest ago first.
  function queue.joins(domain, pipe)
    local list = {}
    for _, join in ipairs(redis.call('HVALS', pipe_key(domain, pipe) .. ':joins')) do
      local record = join_live(domain, join)
      local kind = record and feed_types[record.kind]
      if kind and kind.queues then
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
  function queue.pull(domain, pipe, waits)
    local joins = queue.joins(domain, pipe)
    for _, join in ipairs(joins) do
      redis.call('ZREM', called_key(domain, join.id), pipe) -- here it is
    end
    if not queue.held(domain) then
      for _, join in ipairs(joins) do
        local record = feed_get(domain, join.feed)
        local waits = queue.key(domain, record.id)
        local item, score = unpack(redis.call('ZRANGE', waits, 0, 0, 'WITHSCORES'))
        while item do
          local message = queue.item(domain, item)
          local late = expired(domain, record, message)
          queue.drop(domain, record.id, item, message)
          if not late then
            -- Works owe it nothing: it is joined to feeds that queue only.
            deliver(domain, pipe_state(domain, pipe), message, queue.origin(digits(score), record))
            redis.call('HSET', domain .. ':join:' .. join.join, 'turn', next_turn(domain))
            for _, other in ipairs(joins) do
              redis.call('ZREM', turns_key(domain, other.id), '?' .. pipe .. ' ' .. other.join)
            end
            return true
          end
          body_release(domain, message.body)
          item, score = unpack(redis.call('ZRANGE', waits, 0, 0, 'WITHSCORES'))
        end
      end
    end
    if waits then
      for _, join in ipairs(joins) do
        redis.call('ZADD', turns_key(domain, join.id), join.turn, '?' .. pipe .. ' ' .. join.join)
        if queue.held(domain) then
          redis.call('SADD', domain .. ':queued', join.feed)
        end
      end
    end
    return false
  end

  -- What a pipe that goes away held of a feed's messages goes back to that feed.
  function queue.take_back(domain, pipe, entry, fields)
    local score, id, key = string.match(fields['q'], '^(%S+) (%S+) (.+)$')
    local record = feed_get(domain, key)
    local ended = not record or record.id ~= id
    if ended then
      local dead_letter = redis.call('HGET', domain .. ':ended', id)
      if not dead_letter then
        entry_release(domain, pipe, entry, fields)
        return
      end
      record = { id = id, key = key, dead_letter = dead_letter }
    end
    local message
    if fields['b'] then
      message = body_get(domain, fields['b'])
      if fields['e'] then
        redis.call('ZREM', domain .. ':expiring', entry_name(pipe, entry))
      end
    else
      message = message_make({
        address = fields['a'], id = fields['i'], blob = fields['m'], headers = fields['h'],
        feed = id .. ' ' .. key, priority = 9 - math.floor(tonumber(score) / CALM),
      })
      body_store(domain, 'r' .. redis.call('HINCRBY', domain, 'serial', 1), message, 1)
      queue.since(domain, message, string.match(entry[1], '%d+$'))
    end
    queue.marked(message, (fields['r'] or 0) + 1, fields['d'] or '')
    local dead = expired(domain, record, message)
      or (ended and letter_write(domain, record, message, 'deleted'))
      or (message.redelivered > redeliveries and letter_write(domain, record, message, 'redelivered'))
    if dead then
      body_release(domain, message.body)
    else
      tell('redelivered', 1)
      queue.put(domain, record, message, score)
    end
  end

  -- Whether one message more may wait in the feed, or go straight on.
  function queue.fits(domain, record)
    record.waiting = record.waiting or redis.call('ZCARD', queue.key(domain, record.id))
    if record.live == nil then
      record.live = redis.call('EXISTS', turns_key(domain, record.id)) == 1
    end
    record.planned = (record.planned or 0) + 1
    return record.live and record.waiting == 0 or record.waiting + record.planned <= queue_most
  end

  function queue.commit(domain, record, plan, name)
    local message = plan.message
    local inline = not message.body and message.contents == '' and #message.blob <= INLINE
      and message.expires == 0 and record.dead_letter == ''
    local score = queue.score(domain, message.priority)
    if inline and record.waiting == 0 and not queue.held(domain) and not works.many(domain) then
      local taker = queue.turn(domain, record, true) -- straight on: nobody waits before it
      if taker then
        hand(domain, taker, message, queue.origin(score, record))
        return
      end
    end
    message_store(domain, message, name, 1)
    queue.since(domain, message, digits(now))
    queue.put(domain, record, message, score)
    record.waiting = record.waiting + 1
  end
end)
