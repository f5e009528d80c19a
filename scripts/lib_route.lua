-- Routing: first a plan, which writes nothing, for Redis does not roll back;
-- then what was planned.

local INLINE = 4096 -- bytes; a larger blob would make listing a pipe slow
local LARGE = 1000 -- pipes; a message for more is left to be handed out in chunks
local DIRECT = 10000 -- deliveries in one call, not counting messages for one pipe
local HOPS = 3 -- dead-letter feeds that a message may overflow from in one call

local spent = 0
local found = {} -- places and pipes by what a message is matched by

-- Where the message's joins stand, and how many they are at most.
local function targets(domain, record, message)
  local by = record.id .. ' ' .. message.address .. '\0' .. message.headers
  if not found[by] then
    local index = index_key(domain, record.id)
    local target = { index = index, places = {}, total = 0 }
    for _, place in ipairs(feed_types[record.type].match(index, message)) do
      local count = redis.call('ZCARD', place_key(index, place))
      if count > 0 then
        target.places[#target.places + 1] = place
        target.total = target.total + count
      end
    end
    found[by] = target
  end
  return found[by]
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

local function queue_plan(domain, record, message)
  record.waiting = record.waiting or redis.call('ZCARD', queue_key(domain, record.id))
  record.live = record.live or redis.call('EXISTS', turns_key(domain, record.id)) == 1
  record.planned = (record.planned or 0) + 1
  local plan = { message = message, queue = true, count = 1, full = 0 }
  if record.live and record.waiting == 0 or record.waiting + record.planned <= queue_most then
    return plan
  end
  if record.dead_letter == '' then
    return nil, 'queue_full'
  end
  plan.count, plan.full = 0, 1
  return plan
end

-- What would become of a message; nil and a word where nobody could take it.
local function route_plan(domain, record, message)
  if feed_types[record.type].queues then
    return queue_plan(domain, record, message)
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
      plan.work = work_plan(domain, message, target.index, target.places)
      return plan
    end
    spent = spent + cost
  end
  for _, pipe in ipairs(target_pipes(target)) do
    local state = pipe_state(domain, pipe)
    works_owe(domain, state)
    if state.room > 0 then
      state.room = state.room - 1
      plan.takers[#plan.takers + 1] = state
    else
      plan.full = plan.full + 1
    end
  end
  plan.count = #plan.takers
  if plan.full > 0 and plan.count == 0 and record.dead_letter == '' then
    return nil, 'full' -- nobody who wants it could take it: the publisher must keep it
  end
  return plan
end

-- Store a message for so many holders, or count them where it is stored.
local function message_store(domain, message, name, holders)
  if message.body then
    body_hold(domain, message.body, holders)
  else
    body_store(domain, name, message, holders)
  end
end

local function queue_commit(domain, record, plan, name)
  local message = plan.message
  local small = message.contents == '' and #message.blob <= INLINE
  local inline = not message.body and small and message.expires == 0 and record.dead_letter == ''
  local score = queue_score(domain, message.priority)
  if inline and record.waiting == 0 and not queues_held(domain) then
    local taker = turn_take(domain, record, true) -- straight on: nobody waits before it
    if taker then
      hand(domain, taker, message, turn_name(score, record))
      return
    end
  end
  message_store(domain, message, name, 1)
  queue_put(domain, record, message, score)
  record.waiting = record.waiting + 1
end

-- Do what was planned. `name` is for the body, should the message need one.
local function route_commit(domain, record, plan, name)
  local message = plan.message
  if plan.queue and plan.full == 0 then
    queue_commit(domain, record, plan, name)
  elseif plan.work then
    message_store(domain, message, name, 1)
    work_leave(domain, plan.work)
  elseif plan.count > 0 then
    if message.body or plan.count > 1 or message.contents ~= '' or #message.blob > INLINE
      or message.expires > 0 or record.dead_letter ~= '' then
      message_store(domain, message, name, plan.count)
    end
    for _, state in ipairs(plan.takers) do
      hand(domain, state, message, nil, plan.works)
    end
  end
  if plan.full > 0 and record.dead_letter ~= '' then
    letter_write(domain, record, message, 'overflow', plan.full)
  elseif plan.count == 0 and not message.body then
    contents_unlink(domain, message.contents)
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

local function lost(domain, count)
  redis.call('HINCRBY', domain, 'lost', count)
end

local function letter_post(domain, letter)
  local record = feed_get(domain, letter.feed)
  local message = letter.message
  if not message.body then
    body_store(domain, 'l' .. redis.call('HINCRBY', domain, 'serial', 1), message, 1)
  end
  local dead = {}
  for name, value in pairs(message) do
    dead[name] = value
  end
  dead.hops = (message.hops or 0) + 1
  dead.death = letter.reason .. ' ' .. letter.times .. ' ' .. letter.from
  dead.expires, dead.redelivered = 0, 0
  local why = redis.sha1hex('x-death-reason\0' .. letter.reason)
  local headers = { why }
  for digest in string.gmatch(dead.headers, '%x+') do
    headers[#headers + 1] = digest
  end
  table.sort(headers)
  dead.headers = table.concat(headers, ' ')
  if not record or dead.hops > HOPS or not route_stored(domain, record, dead) then
    lost(domain, 1)
  end
  body_release(domain, message.body)
end

-- Finish a transition: dead letters, queues that were stirred, pipes that were
-- touched. Whether something is left to be done at once.
local function settle(domain)
  local more = false
  while letters[1] or next(stirred) do
    while letters[1] do
      letter_post(domain, table.remove(letters, 1))
    end
    local key, record = next(stirred)
    if key then
      stirred[key] = nil
      more = queue_dispatch(domain, record) or more
    end
  end
  pipes_flush(domain)
  return more or redis.call('EXISTS', domain .. ':works') == 1
end

-- Finish, and call for a node to do what is left.
local function settle_and_ring(domain)
  if settle(domain) then
    due_ring(domain)
  end
end
