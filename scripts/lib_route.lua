-- Routing: first a plan, which writes nothing, for Redis does not roll back;
-- then what was planned.

local LARGE = 500 -- pipes; a message for more is left to be handed out in chunks
local DIRECT = 10000 -- deliveries in one call, not counting messages for one pipe

local PAIRS = 5000 -- of place and pipe, that are looked at for pipes that stand at several places
local PLACES = 65536 -- bytes of the places that a message is left with, to be handed out
local UNROUTABLE = { bad_address = true, too_dear = true } -- now and later

local spent = 0

-- Find the pipes at those places, each once. Places where nobody stands who does
-- not stand at those before are of no use. What is too much to look at stays.
local function target_pipes(target, counts)
  local pipes, seen, places = {}, {}, {}
  local left = target.places[2] and PAIRS or LARGE -- at one place nobody stands twice
  target.total, target.pipes = 0, pipes
  for i, place in ipairs(target.places) do
    local before = #pipes
    left = left - counts[i]
    if left < 0 then
      target.total, target.pipes = target.total + counts[i], nil
      places[#places + 1] = place
    else
      for _, pipe in ipairs(redis.call('ZRANGE', place_key(target.index, place), 0, -1)) do
        if not seen[pipe] then
          seen[pipe] = true
          pipes[#pipes + 1] = pipe
        end
      end
      if #pipes > before then
        places[#places + 1] = place
      end
    end
  end
  target.places, target.total = places, target.total + #pipes
end

-- Where the message's joins stand, and how many pipes have them (at most that many,
-- where they are very many). Nil and a word for a message that is not to be matched.
local function targets(domain, record, kind, message)
  local by = message.headers == '' and message.address or message.address .. '\0' .. message.headers
  record.found = record.found or {} -- by what messages are matched by
  local target = record.found[by]
  if not target then
    local index = index_key(domain, record.id)
    target = { index = index, places = {} }
    local places, refusal = places_of(kind, index, message)
    if not places then
      return nil, refusal
    end
    local counts = {}
    for _, place in ipairs(places) do
      local count = redis.call('ZCARD', place_key(index, place))
      if count > 0 then
        counts[#counts + 1] = count
        target.places[#counts] = place
      end
    end
    target_pipes(target, counts)
    record.found[by] = target
  end
  return target
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
  local kind = feed_types[target.type]
  if not kind then
    return false -- of a profile that this node does not have
  end
  if kind.queues then
    return queue.fits(domain, target) or letter_fits(domain, target, hops - 1)
  end
  return redis.call('EXISTS', index_key(domain, target.id) .. ':joins') == 1
end

-- What would become of a message; nil and a word where nobody could take it.
local function route_plan(domain, record, message)
  local kind = feed_types[record.type]
  if not kind then
    return nil, 'unknown_type' -- of a profile that this node does not have
  end
  if kind.queues then
    if queue.fits(domain, record) then
      return { message = message, queue = true, count = 1, full = 0 }
    elseif letter_fits(domain, record, HOPS) then
      return { message = message, count = 0, full = 1, letter = true }
    end
    return nil, 'queue_full'
  end
  local target, refusal = targets(domain, record, kind, message)
  if not target then
    return nil, refusal
  end
  local plan = { message = message, count = target.total, full = 0, takers = {} }
  plan.works = works_count(domain)
  if target.total > 1 or (target.total == 1 and plan.works > 0) then
    local cost = target.total * (1 + plan.works)
    if not target.pipes or target.total > LARGE or spent + cost > DIRECT or plan.works > WORKS_OWING then
      if plan.works >= WORKS then
        return nil, 'busy'
      end
      if #table.concat(target.places) > PLACES then
        return nil, 'too_dear'
      end
      plan.work = works.plan(domain, record, message, target.index, target.places)
      return plan
    end
    spent = spent + cost
  end
  for _, pipe in ipairs(target.pipes) do
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

-- Whether a message is in its one pipe only, and has no body.
local function is_inline(record, plan)
  local message = plan.message
  return plan.count == 1 and not plan.work and not plan.queue and message.contents == ''
    and #message.blob <= INLINE and message.expires == 0 and record.dead_letter == ''
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
    if message.body or not is_inline(record, plan) then
      message_store(domain, message, name, plan.count)
    end
    for _, state in ipairs(plan.takers) do
      hand(domain, state, message, nil, plan.works)
    end
  end
  if plan.letter then
    letter_write(domain, record, message, 'overflow', plan.full)
  elseif plan.count == 0 then
    tell('unroutable', 1)
    if not message.body then
      contents_free(domain, message.contents)
    end
  end
end

-- Route a message that is stored. False and a word where nobody could take it now.
local function route_stored(domain, record, message)
  local plan, refusal = route_plan(domain, record, message)
  if not plan then
    return false, refusal
  end
  route_commit(domain, record, plan)
  if plan.count > 0 then
    tell('routed', plan.count) -- which no publisher is told of
  end
  return true
end
