#!lua flags=allow-oom
-- Do a chunk of what is due: works, messages that come back, delayed ones,
-- expired ones, queues that can be handed out. Any node may, at any time.
local domain = KEYS[1]
local node = ARGV[1]
local bounds = ARGV[2]

-- Every node asks of every domain, and nearly always nothing is due: then what takes the time,
-- the definitions of all that moves messages, is left aside. Returns how long that will be so, in
-- ms, -1 for as long as nothing new comes; nil where something is due.
local function nothing_for()
  if redis.call('EXISTS', domain .. ':works', domain .. ':queued', domain .. ':returning') > 0 then
    return nil
  end
  local clock, least = redis.call('TIME'), -1
  for _, name in ipairs({ ':delayed', ':expiring' }) do
    local score = redis.call('ZRANGE', domain .. name, 0, 0, 'WITHSCORES')[2]
    if score then
      local left = tonumber(score) - math.floor(clock[1] * 1000 + clock[2] / 1000)
      if left <= 0 then
        return nil
      end
      least = least < 0 and left or math.min(least, left)
    end
  end
  return least
end

local rest = nothing_for()
if rest then
  return { 'ok', 0, rest, {} }
end

--@ include profiles lib_messaging lib_removal

local SOME = 200 -- delayed or expired messages, or feeds, in one call
local LOOKED = 1000 -- delayed messages that are looked at in one call for those
local DRIVES = 1000 -- ms for which one node does the works, so that not all of them do
local RETRY = 1000 -- ms until delayed messages that nobody had room for are tried again

local more = false

-- The feed that a message was posted to, if it is still there.
local function feed_of(message)
  if not message.feed then
    return nil -- somebody has taken the body away
  end
  local id, key = string.match(message.feed, '^(%S+) (.+)$')
  local record = feed_get(domain, key)
  return record and record.id == id and record or nil
end

local driver = redis.call('GET', domain .. ':driver')
if (not driver or driver == node) and redis.call('EXISTS', domain .. ':works') == 1 then
  redis.call('SET', domain .. ':driver', node, 'PX', DRIVES)
  local work, left, done = nil, WORK_PIPES, true
  while done and left > 0 do
    work, left, done = works.continue(domain, left)
    if work and done then
      local record = feed_of(work) -- that it goes through, which may be a dead-letter feed
      if work.full > 0 and not (record
        and letter_write(domain, record, work.message, 'overflow', work.full)) then
        tell('lost', work.full)
      end
      body_release(domain, work.message.body)
    end
  end
  more = redis.call('EXISTS', domain .. ':works') == 1
end

return_continue(domain)

local lateness = {} -- ms, of each delayed message that was fired

-- Delayed messages whose time has come. Those that nobody has room for stay where
-- they are, before all later ones, and are tried again. Returns how many are gone.
local function fire(record)
  local key, fired, again = index_key(domain, record.id) .. ':delayed', 0, false
  local bodies = redis.call('ZRANGEBYSCORE', key, '-inf', now_ms, 'WITHSCORES', 'LIMIT', 0, LOOKED)
  for at = 1, #bodies, 2 do
    local body = bodies[at]
    local message = body_get(domain, body)
    local life = redis.call('HGET', body_key(domain, body), 'l')
    if life then
      message.expires = now_ms + life
      redis.call('HSET', body_key(domain, body), 'e', digits(message.expires))
    end
    record.planned, record.waiting = nil, nil -- what was planned before is done
    local done, refusal = not message.feed, nil -- or somebody has taken it away
    if not done then
      done, refusal = route_stored(domain, record, message)
    end
    if UNROUTABLE[refusal] then
      done = true
      if not letter_write(domain, record, message, 'overflow') then
        tell('lost', 1)
      end
    end
    if done then
      redis.call('ZREM', key, body)
      body_release(domain, body)
      fired = fired + 1
      lateness[#lateness + 1] = now_ms - bodies[at + 1]
    end
    again = refusal == 'apart' and fired > 0
    if fired == SOME or (not done and refusal ~= 'full') then
      break -- what is refused so may be for pipes that later ones are for as well
    end
  end
  local next_due = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  local all_seen = fired < SOME and #bodies < 2 * LOOKED and not again
  if next_due and tonumber(next_due) <= now_ms and (all_seen or fired == 0) then
    next_due = redis.call('ZRANGEBYSCORE', key, '(' .. digits(now_ms), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    next_due = digits(math.min(tonumber(next_due) or math.huge, now_ms + RETRY))
  end
  if next_due then
    redis.call('ZADD', domain .. ':delayed', next_due, record.key)
  else
    redis.call('ZREM', domain .. ':delayed', record.key)
  end
  return fired
end

-- Of the feed that has the oldest.
local feed, due = unpack(redis.call('ZRANGE', domain .. ':delayed', 0, 0, 'WITHSCORES'))
local fired = 0
if feed and tonumber(due) <= now_ms then
  local record = feed_get(domain, feed)
  if record then
    fired = fire(record)
  else
    redis.call('ZREM', domain .. ':delayed', feed)
  end
end

-- Expired messages leave their pipe, or their queue. One that many pipes hold is
-- one dead letter, the first time.
local function expire(record, message)
  tell('expired', 1)
  if record and redis.call('HSETNX', body_key(domain, message.body), 'x', 1) == 1 then
    letter_write(domain, record, message, 'expired')
  end
end

local late = redis.call('ZRANGEBYSCORE', domain .. ':expiring', '-inf', now_ms, 'LIMIT', 0, SOME)
for _, name in ipairs(late) do
  redis.call('ZREM', domain .. ':expiring', name)
  local pipe, number = string.match(name, '^p (%S+) (%d+)$')
  if pipe then
    local state = pipe_state(domain, pipe)
    local entry = redis.call('XRANGE', state.stream, number, number)[1]
    if entry then
      local message = body_get(domain, entry_fields(entry)['b'])
      expire(feed_of(message), message)
      redis.call('XDEL', state.stream, entry[1])
      redis.call('ZREMRANGEBYSCORE', state.key .. ':dropped', number, number)
      body_release(domain, message.body)
      if state.last then -- not what is left of a deleted pipe
        state.shared = state.shared - 1
        state.room = state.room + 1
        state.took = true
      end
    end
  else
    local id, item = string.match(name, '^q (%d+) (.+)$')
    local message = queue.item(domain, item)
    expire(feed_of(message), message)
    redis.call('ZREM', queue.key(domain, id), item)
    body_release(domain, message.body)
  end
end

for _, key in ipairs(redis.call('SRANDMEMBER', domain .. ':queued', SOME)) do
  stirred[key] = feed_get(domain, key)
end

-- How long nothing will be due, in ms; -1 for as long as nothing new comes.
local function soonest(...)
  local least = -1
  for _, key in ipairs({ ... }) do
    local score = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    if score then
      local left = math.max(0, tonumber(score) - now_ms)
      least = least < 0 and left or math.min(least, left)
    end
  end
  return least
end

more = settle(domain) and not (driver and driver ~= node) or more
more = more or #late == SOME or redis.call('EXISTS', domain .. ':returning') == 1
return { more and 'more' or 'ok', fired, soonest(domain .. ':delayed', domain .. ':expiring'), lateness }
