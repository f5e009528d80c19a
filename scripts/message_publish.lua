#!lua
-- Route the messages of one request: all of them, in order, or none.
-- Everything is checked before the first write, for Redis does not roll back.
local domain = KEYS[1]
local feed = ARGV[1]
local bounds = ARGV[2]
local deliveries = ARGV[3]
local nonce = ARGV[4]
local once = ARGV[5]
local keep = ARGV[6]
local messages = 7 -- ARGV from here on: address, message_id, blob, contents, headers, terms of each message

--@ include profiles lib_messaging lib_once

local FIELDS = 6
local source = feed_get(domain, feed)
if not source then
  return { 'missing' }
end
local kind = feed_types[source.type]
if not kind then
  return { 'unknown_type' }
end
deliveries = tonumber(deliveries)

-- What is named by a message that is not routed again is of no use to anybody.
local function contents_drop(contents)
  for content in string.gmatch(contents, '%x+') do
    local key = domain .. ':content:' .. content
    if redis.call('HGET', key, 'id') == source.id then
      redis.call('UNLINK', key)
    end
  end
end

local answer = once_answer(domain, source.id, once)
if answer == false then
  return { 'once_differs' }
elseif answer then
  for i = messages, #ARGV, FIELDS do
    contents_drop(ARGV[i + 3])
  end
  return answer
end

-- `terms` are the time to live (ms), the priority, and when it is to be
-- delivered: `+` and ms from now, or ms since the epoch. `-` is none.
local origin = source.id .. ' ' .. feed
local function message_from(i)
  local message = message_make({
    address = ARGV[i], id = ARGV[i + 1], blob = ARGV[i + 2], contents = ARGV[i + 3],
    headers = ARGV[i + 4], feed = origin,
  })
  if ARGV[i + 5] ~= '' then
    local life, priority, sign, when = string.match(ARGV[i + 5], '^(%S+) (%d) (%+?)(%S+)$')
    message.priority = tonumber(priority)
    message.life = tonumber(life)
    if when ~= '-' then
      message.due = tonumber(when) + (sign == '+' and now_ms or 0)
    end
    if message.due and message.due <= now_ms then
      message.due = nil
    end
    if message.life and not message.due then
      message.expires = now_ms + message.life
    end
  end
  return message
end

local claimed, known = {}, {}

-- `contents` has a word for each content: the staged one's secret, or `-`.
local function contents_refusal(contents)
  if contents == '' then
    return nil
  end
  for content in string.gmatch(contents, '%x+') do
    local key = domain .. ':content:' .. content
    local staged = redis.call('HMGET', key, 'feed', 'id')
    if not staged[1] or claimed[key] then
      return 'no_content'
    end
    if staged[2] ~= source.id then
      return 'other_feed'
    end
    claimed[key] = true
  end
end

-- Within the feed's window a message_id is routed once: its plan is the first one's.
local function repeated(message)
  if source.dedup == '' or message.id == '' then
    return nil
  end
  local key = domain .. ':known:' .. source.id .. ':' .. message.id
  if not known[key] then
    local count, full = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
    known[key] = count and { count = tonumber(count), full = tonumber(full) }
  end
  return known[key], key
end

local delayed = 0
local function plan_for(message)
  local refusal = contents_refusal(message.contents)
  if refusal then
    return nil, refusal
  end
  if kind.accepts and not kind.accepts(message) then
    return nil, 'bad_address'
  end
  if not message.due then
    return route_plan(domain, source, message)
  end
  delayed = delayed == 0 and redis.call('ZCARD', index_key(domain, source.id) .. ':delayed') or delayed
  delayed = delayed + 1
  if delayed > queue_most then
    return nil, 'queue_full'
  end
  return { message = message, delayed = true, count = 0, full = 0 }
end

local reply, plans, unwanted = { 'ok', kind.counts and 1 or 0 }, {}, {}
for i = messages, #ARGV, FIELDS do
  local message = message_from(i)
  local plan, key = repeated(message)
  if plan then
    unwanted[#unwanted + 1] = message.contents
  else
    local refusal
    plan, refusal = plan_for(message)
    if not plan then
      return { refusal }
    end
    if key then
      known[key] = plan
    end
    plans[#plans + 1] = plan
    deliveries = deliveries - plan.count
    if deliveries < 0 then
      return { 'too_many' }
    end
  end
  reply[#reply + 1] = plan.count
  reply[#reply + 1] = plan.full
end

for key in pairs(claimed) do
  redis.call('PERSIST', key)
  redis.call('HDEL', key, 'feed', 'id') -- published: it cannot be named again
end
local soonest
for m, plan in ipairs(plans) do
  local name = nonce .. '-' .. m
  if plan.delayed then
    local message = plan.message
    body_store(domain, name, message, 1)
    if message.life then
      redis.call('HSET', body_key(domain, name), 'l', message.life)
    end
    redis.call('ZADD', index_key(domain, source.id) .. ':delayed', digits(message.due), name)
    soonest = math.min(soonest or message.due, message.due)
  else
    route_commit(domain, source, plan, name)
  end
end
if soonest and redis.call('ZADD', domain .. ':delayed', 'LT', 'CH', digits(soonest), feed) == 1 then
  due_ring(domain)
end
for _, contents in ipairs(unwanted) do
  contents_drop(contents)
end
for key, plan in pairs(known) do
  if plan.message then -- else it was known before
    redis.call('SET', key, plan.count .. ' ' .. plan.full, 'PX', digits(source.dedup * 1000))
  end
end
settle_and_ring(domain)
once_keep(domain, source.id, once, reply, keep)
return reply
