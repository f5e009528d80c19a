-- Routing: first a plan, which writes nothing, for Redis does not roll back;
-- then what was planned.

local LARGE = 500 -- pipes; a message for more is left to be handed out in chunks
local DIRECT = 10000 -- deliveries in one call, not counting messages for one pipe

local spent = 0

-- Where the message's joins stand, and how many they are at most.
local function targets(domain, record, message)
  local by = message.headers == '' and message.address or message.address .. '\0' .. message.headers
  record.found = record.found or {} -- by what messages are matched by
  local target = record.found[by]
  if not target then
    local index = index_key(domain, record.id)
    target = { index = index, places = {}, total = 0 }
    for _, place in ipairs(feed_types[record.type].match(index, message)) do
      local count = redis.call('ZCARD', place_key(index, place))
      if count > 0 then
        target.places[#target.places + 1] = place
        target.total = target.total + count
      end
    end
    record.found[by] = target
  end
  return target
end

-- The pipes at those places, each once, in the order of joining.
local function target_pipes(target)
  if not target.pipes then
    local pipes, seen = {}, {}
    for _, place in ipairs(target.places) do
      for _, pipe in ipairs(redis.call('ZRANGE', place_key(target.index, place), 0, -1)) do
        if not seen[pipe] then
          seen[pipe] = true
          pipes[#pipes + 1] = pipe
        end
      end
    end
    target.pipes = pipes
  end
  return target.pipes
end

local HOPS = 3 -- dead-letter feeds that a message may overflow from in one call

local letter_feeds = {} -- with what is planned for them

-- Whether what overflows from a feed would find room in its dead-letter feed, or
-- in that one's. Where it would not, the publisher keeps it.
local function letter_fits(domain, record, hops)
  local key = record.dead_letter
  if key == '' or hops == 0 then
    return false
  end
  letter_feeds[key] = letter_feeds[key] or feed_get(domain, key)
  local target = letter_feeds[key]
  if not target then
    return false
  end
  if feed_types[target.type].queues then
    return queue.fits(domain, target) or letter_fits(domain, target, hops - 1)
  end
  return redis.call('EXISTS', index_key(domain, target.id) .. ':joins') == 1
end

-- What would become of a message; nil and a word where nobody could take it.
local function route_plan(domain, record, message)
  if feed_types[record.type].queues then
    if queue.fits(domain, record) then
      return { message = message, queue = true, count = 1, full = 0 }
    elseif letter_fits(domain, record, HOPS) then
      return { message = message, count = 0, full = 1, letter = true }
    end
    return nil, 'queue_full'
  end
  local target = targets(domain, record, message)
  local plan = { message = message, count = target.total, full = 0, takers = {} }
  plan.works = works_count(domain)
  if target.total > 1 or (target.total == 1 and plan.works > 0) then
    local cost = target.total * (1 + plan.works)
    if target.total > LARGE or spent + cost > DIRECT or plan.works > WORKS_OWING then
      if plan.works >= WORKS then
        return nil, 'busy'
      end
      plan.work = works.plan(domain, record, message, target.index, target.places)
      return plan
    end
    spent = spent + cost
  end
  for _, pipe in ipairs(target_pipes(target)) do
    local state = pipe_state(domain, pipe)
    owe(domain, state)
    if state.room > 0 then
      state.room = state.room - 1
      plan.takers[#plan.takers + 1] = state
    else
      plan.full = plan.full + 1
    end
  end
  plan.count = #plan.takers
  plan.letter = plan.full > 0 and letter_fits(domain, record, HOPS)
  if plan.full > 0 and plan.count == 0 and not plan.letter then
    return nil, 'full' -- nobody who wants it could take it: the publisher must keep it
  end
  return plan
end

-- Do what was planned. `name` is for the body, should the message need one.
local function route_commit(domain, record, plan, name)
  local message = plan.message
  if plan.queue then
    queue.commit(domain, record, plan, name)
  elseif plan.work then
    message_store(domain, message, name, 1)
    works.leave(domain, plan.work)
  elseif plan.count > 0 then
    if message.body or plan.count > 1 or message.contents ~= '' or #message.blob > INLINE
      or message.expires > 0 or record.dead_letter ~= '' then
      message_store(domain, message, name, plan.count)
    end
    for _, state in ipairs(plan.takers) do
      hand(domain, state, message, nil, plan.works)
    end
  end
  if plan.letter then
    letter_write(domain, record, message, 'overflow', plan.full)
  elseif plan.count == 0 and not message.body then
    contents_free(domain, message.contents)
  end
end

-- Route a message that is stored. False where nobody could take it now.
local function route_stored(domain, record, message)
  local plan = route_plan(domain, record, message)
  if not plan then
    return false
  end
  route_commit(domain, record, plan)
  return true
end
