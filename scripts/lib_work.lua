-- A work: a message for more pipes than one call may serve. It is accepted at
-- once, and handed out in chunks by whichever node comes by. The works of a
-- domain are done one after the other, oldest first.
--
-- A pipe that is to get a newer message meanwhile first gets those of the works
-- that have not come to it yet: so every pipe sees every writer's order, and
-- nobody waits for a work to end. A work's places are walked in the order of the
-- joins' serials, up to the last one there was when the message was posted; how
-- far it is, and who was served out of turn, is written in the same step as
-- what they were given.

local WORK_PIPES = 200 -- served in one call
local WORKS = 1000 -- that a domain may have
local WORKS_OWING = 300 -- that are looked at for what they owe a pipe

local outstanding -- how many there are, once that was asked
local planned = 0 -- those of this call that are not written yet

local function works_count(domain)
  outstanding = outstanding or redis.call('LLEN', domain .. ':works')
  return outstanding + planned
end

local works = module(function(works)
  local known -- the outstanding ones, where they were looked at
  local early = {} -- those that were planned before

  local function work_key(domain, number)
    return domain .. ':work:' .. number
  end

  local function work_get(domain, number)
    local values = redis.call('HMGET', work_key(domain, number), 'plan', 'place', 'cursor', 'full')
    if not values[1] then
      return nil -- somebody has taken it away
    end
    local work = cmsgpack.unpack(values[1])
    work.number = number
    message_make(work.message)
    work.place, work.cursor, work.full = tonumber(values[2]), tonumber(values[3]), tonumber(values[4])
    return work
  end

  function works.all(domain)
    if not known then
      known = {}
      for _, number in ipairs(redis.call('LRANGE', domain .. ':works', 0, -1)) do
        known[#known + 1] = work_get(domain, number)
      end
      for _, work in ipairs(early) do
        known[#known + 1] = work
      end
      early = {}
    end
    return known
  end

  -- Plan a work; nothing is written yet. Joins that come later have larger serials.
  function works.plan(domain, record, message, index, places)
    local work = {
      message = message, feed = record.id .. ' ' .. record.key, index = index, places = places, place = 1, cursor = 0, full = 0,
      upto = tonumber(redis.call('HGET', domain, 'serial')),
    }
    planned = planned + 1
    if known then
      known[#known + 1] = work
    else
      early[#early + 1] = work
    end
    return work
  end

  -- Forget what was planned and not written.
  function works.forget()
    known, early = nil, {}
    planned, outstanding = 0, nil
  end

  -- Leave a planned work to be done. It holds the body for itself.
  function works.leave(domain, work)
    local message = work.message
    work.number = digits(redis.call('HINCRBY', domain, 'serial', 1))
    redis.call('HSET', work_key(domain, work.number), 'place', 1, 'cursor', 0, 'full', 0,
      'plan', cmsgpack.pack({
        index = work.index, places = work.places, upto = work.upto, feed = work.feed,
        message = {
          body = message.body, address = message.address, id = message.id, feed = message.feed,
          expires = message.expires, death = message.death, priority = message.priority,
          headers = message.headers, hops = message.hops,
        },
      }))
    redis.call('RPUSH', domain .. ':works', work.number)
    planned, outstanding = planned - 1, outstanding + 1
    if early[1] == work then
      table.remove(early, 1)
    end
  end

  local function work_awaits(domain, work, pipe)
    for place = work.place, #work.places do
      local serial = tonumber(redis.call('ZSCORE', place_key(work.index, work.places[place]), pipe) or nil)
      if serial and serial <= work.upto and (place > work.place or serial > work.cursor) then
        return not work.number
          or redis.call('SISMEMBER', work_key(domain, work.number) .. ':took', pipe) == 0
      end
    end
    return false
  end

  -- Find out which works owe the pipe a message.
  function works.owe(domain, state)
    works.all(domain)
    for i = state.seen + 1, #known do
      if work_awaits(domain, known[i], state.pipe) then
        state.due[#state.due + 1] = i
        state.room = state.room - 1
      end
    end
    state.seen = #known
  end

  -- Deliver what the first `count` works owe a pipe.
  function works.pay(domain, state, count)
    while state.due[1] and state.due[1] <= count do
      local work = known[table.remove(state.due, 1)]
      redis.call('SADD', work_key(domain, work.number) .. ':took', state.pipe)
      body_hold(domain, work.message.body, 1)
      deliver(domain, state, work.message)
    end
  end

  -- Give a pipe all that works owe it, as far as it has room.
  function works.settle(domain, pipe)
    if works_count(domain) == 0 then
      return
    end
    local state = pipe_state(domain, pipe)
    local room = state.room
    works.owe(domain, state)
    works.pay(domain, state, room >= #state.due and math.huge or state.due[room] or 0)
    for _, i in ipairs(state.due) do
      local key = work_key(domain, known[i].number)
      redis.call('SADD', key .. ':took', pipe)
      redis.call('HINCRBY', key, 'full', 1)
    end
    state.due = {}
  end

  -- Whether there are more of them than are looked at for one pipe.
  function works.many(domain)
    return works_count(domain) > WORKS_OWING
  end

  -- Go on with the oldest work, for `left` pipes at most. Returns it, how many
  -- more could be served, and whether the work is done.
  function works.continue(domain, left)
    local number = redis.call('LINDEX', domain .. ':works', 0)
    if not number then
      return nil, 0
    end
    local work = work_get(domain, number)
    if not work then
      redis.call('LPOP', domain .. ':works')
      known, outstanding = nil, nil
      return nil, left, true
    end
    local took = work_key(domain, number) .. ':took'
    local several = #work.places > 1
    local overtaken = redis.call('EXISTS', took) == 1
    local delivered = 0
    local function serve(pipe)
      if several then
        if redis.call('SADD', took, pipe) == 0 then
          return
        end
      elseif overtaken and redis.call('SISMEMBER', took, pipe) == 1 then
        return
      end
      local state = pipe_state(domain, pipe)
      if state.room > 0 then
        state.room = state.room - 1
        deliver(domain, state, work.message)
        delivered = delivered + 1
      else
        work.full = work.full + 1
      end
    end
    while left > 0 and work.places[work.place] do
      local pipes = redis.call('ZRANGEBYSCORE', place_key(work.index, work.places[work.place]),
        '(' .. digits(work.cursor), digits(work.upto), 'WITHSCORES', 'LIMIT', 0, left)
      for i = 1, #pipes, 2 do
        serve(pipes[i])
        work.cursor = tonumber(pipes[i + 1])
      end
      if #pipes < 2 * left then
        work.place, work.cursor = work.place + 1, 0
      end
      left = left - math.max(1, #pipes / 2)
    end
    if delivered > 0 then
      body_hold(domain, work.message.body, delivered)
    end
    known, outstanding = nil, nil -- what was known of them is old now
    local done = not work.places[work.place]
    if done then
      redis.call('LPOP', domain .. ':works')
      redis.call('UNLINK', work_key(domain, number), took)
    else
      redis.call('HSET', work_key(domain, number), 'place', work.place, 'cursor', digits(work.cursor),
        'full', work.full)
    end
    return work, left, done
  end

  -- Whether messages of a feed may still be on their way by its index.
  function works.use(domain, index)
    local count = works_count(domain)
    if count > WORKS_OWING then
      return true
    end
    for _, work in ipairs(count > 0 and works.all(domain) or {}) do
      if work.index == index then
        return true
      end
    end
    return false
  end
end)

-- What works owe a pipe takes room in it.
local function owe(domain, state)
  if works_count(domain) > 0 then
    works.owe(domain, state)
  end
end

-- Deliver a message after those that are older. `count`: works older than it.
local function hand(domain, state, message, turn, count)
  if works_count(domain) > 0 then
    works.owe(domain, state)
    works.pay(domain, state, count or math.huge)
  end
  deliver(domain, state, message, turn)
end
