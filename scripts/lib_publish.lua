-- Publishing: what becomes of one request. A request is runs of messages that
-- are alike: address, contents, headers, terms, message_ids, their number, and
-- the blob of each. (One message's id is as it is, several make a JSON list.)

local RUN = 6 -- arguments before the blobs
local FIRST = 9 -- where the runs of a call's first request stand

local publish
do
  local sources = {} -- feeds that were posted to, by key

  -- What the last request planned with may have changed by what it did.
  local function source_get(feed)
    local source = sources[feed]
    local kind = source and feed_types[source.type]
    if not kind or kind.queues then
      source = feed_get(domain, feed)
      sources[feed] = source
    end
    return source
  end

  -- What is named by a message that is not routed again is of no use to anybody.
  local function contents_drop(source, contents)
    for content in string.gmatch(contents, '%x+') do
      if redis.call('HGET', content_key(domain, content), 'id') == source.id then
        content_free(domain, content)
      end
    end
  end

  -- `contents` has a word for each content: the staged one's secret, or `-`.
  local function contents_refusal(source, contents, claimed)
    for content in string.gmatch(contents, '%x+') do
      local staged = redis.call('HMGET', content_key(domain, content), 'feed', 'id')
      if not staged[1] or claimed[content] then
        return 'no_content'
      end
      if staged[2] ~= source.id then
        return 'other_feed'
      end
      claimed[content] = true
    end
  end

  local function contents_claim(claimed)
    for content in pairs(claimed) do
      content_publish(domain, content)
    end
  end

  -- `terms` are the time to live (ms), the priority, and when it is to be
  -- delivered: `+` and ms from now, or ms since the epoch. `-` is none.
  local function terms_set(message, terms)
    local life, priority, sign, when = string.match(terms, '^(%S+) (%d) (%+?)(%S+)$')
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

  -- Within the feed's window a message_id is routed once: its plan is the first one's.
  local function repeated(source, id, known)
    if source.dedup == '' or id == '' then
      return nil
    end
    local key = domain .. ':known:' .. source.id .. ':' .. id
    if not known[key] then
      local count, full = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
      known[key] = count and { count = tonumber(count), full = tonumber(full) }
    end
    return known[key], key
  end

  local function delayed_plan(source, message, request)
    request.delayed = request.delayed or redis.call('ZCARD', index_key(domain, source.id) .. ':delayed')
    request.delayed = request.delayed + 1
    if request.delayed > queue_most then
      return nil, 'queue_full'
    end
    return { message = message, delayed = true, count = 0, full = 0 }
  end

  local function message_plan(source, message, request)
    local refusal = contents_refusal(source, message.contents, request.claimed)
    if refusal then
      return nil, refusal
    end
    local accepts = feed_types[source.type].accepts
    if accepts and not accepts(message) then
      return nil, 'bad_address'
    end
    if message.due then
      return delayed_plan(source, message, request)
    end
    return route_plan(domain, source, message)
  end

  -- Most messages are for one pipe and ask for nothing: a run of them is planned and
  -- written as one. Nothing where it is not so simple, or nil and the word of a refusal.
  local function run_plan(source, run, first, last)
    if run.contents ~= '' or run.terms ~= '' or source.dead_letter ~= '' or works_count(domain) > 0
      or (source.dedup ~= '' and run.ids ~= '') or feed_types[source.type].queues then
      return nil
    end
    local target, refusal = targets(domain, source, feed_types[source.type], run)
    if not target or target.total ~= 1 or not target.pipes then
      return nil, refusal
    end
    for i = first, last do
      if #ARGV[i] > BRIEF then
        return nil
      end
    end
    local state = pipe_state(domain, target.pipes[1])
    local count = last - first + 1
    if state.room < count then
      return nil
    end
    state.room = state.room - count
    return { count = 1, full = 0, run = true, state = state, first = first, last = last }
  end

  local function run_commit(plan)
    local state = plan.state
    local call, format, stream, number = redis.call, string.format, state.stream, state.last
    for i = plan.first, plan.last do
      number = number + 1
      call('XADD', stream, format('%.0f', number) .. stamp, 'm', ARGV[i])
    end
    state.last, state.took = number, true
  end

  -- How many took a message, and how many were full, of so many messages alike.
  local function told(reply, messages, plan)
    local last = #reply
    if last > 2 and reply[last - 1] == plan.count and reply[last] == plan.full then
      reply[last - 2] = reply[last - 2] + messages
    else
      reply[last + 1], reply[last + 2], reply[last + 3] = messages, plan.count, plan.full
    end
  end

  local function ids_of(run, count)
    if count == 1 then
      return { run.ids }
    end
    return run.ids ~= '' and cjson.decode(run.ids) or {}
  end

  -- Plan the messages of a run one by one; nil, or the word of a refusal.
  local function messages_plan(source, run, first, last, request)
    local ids = ids_of(run, last - first + 1)
    for i = first, last do
      local message = message_make({
        address = run.address, id = ids[i - first + 1] or '', blob = ARGV[i], contents = run.contents,
        headers = run.headers, feed = source.id .. ' ' .. source.key,
      })
      if run.terms ~= '' then
        terms_set(message, run.terms)
      end
      local plan, key = repeated(source, message.id, request.known)
      if plan then
        request.unwanted[#request.unwanted + 1] = message.contents
      else
        local refusal
        plan, refusal = message_plan(source, message, request)
        if not plan then
          return refusal
        end
        if key then
          request.known[key] = plan
        end
        request.plans[#request.plans + 1] = plan
        request.left = request.left - plan.count
        if request.left < 0 then
          return 'too_many'
        end
      end
      told(request.reply, 1, plan)
    end
    return nil
  end

  -- Plan a request: nil, or the word of a refusal.
  local function request_plan(source, request, from, to)
    local at = from
    while at <= to do
      local run = {
        address = ARGV[at], contents = ARGV[at + 1], headers = ARGV[at + 2], terms = ARGV[at + 3], ids = ARGV[at + 4],
      }
      local count = tonumber(ARGV[at + 5])
      local first = at + RUN
      local plan, refusal = run_plan(source, run, first, first + count - 1)
      if plan then
        request.plans[#request.plans + 1] = plan
        request.left = request.left - count
        told(request.reply, count, plan)
        if request.left < 0 then
          return 'too_many'
        end
      else
        refusal = refusal or messages_plan(source, run, first, first + count - 1, request)
        if refusal then
          return refusal
        end
      end
      at = first + count
    end
    return nil
  end

  -- The bytes that a plan stores: of a message that several hold, its body once.
  local function plan_bytes(source, plan)
    if plan.run then
      local bytes = 0
      for i = plan.first, plan.last do
        bytes = bytes + #ARGV[i] + ENTRY
      end
      return bytes
    end
    local message = plan.message
    local told = #message.address + 2 * #message.id + #message.headers
    local bytes = (#message.blob + told) * SLACK + plan.count * (ENTRY + told)
    if source.dedup == '' and is_inline(source, plan) then
      return bytes
    end
    return bytes + STORED
  end

  local function request_bytes(source, request)
    local bytes = 0
    for _, plan in ipairs(request.plans) do
      bytes = bytes + plan_bytes(source, plan)
    end
    return bytes
  end

  local function delayed_commit(source, message, name)
    body_store(domain, name, message, 1)
    if message.life then
      redis.call('HSET', body_key(domain, name), 'l', message.life)
    end
    redis.call('ZADD', index_key(domain, source.id) .. ':delayed', digits(message.due), name)
    if redis.call('ZADD', domain .. ':delayed', 'LT', 'CH', digits(message.due), source.key) == 1 then
      due_ring(domain)
    end
  end

  local function request_commit(source, request, nonce)
    contents_claim(request.claimed)
    for m, plan in ipairs(request.plans) do
      -- Delayed messages that are due at the same time go by their names.
      local name = nonce .. string.format('-%05d', m)
      if plan.run then
        run_commit(plan)
      elseif plan.delayed then
        delayed_commit(source, plan.message, name)
      else
        route_commit(domain, source, plan, name)
      end
    end
    for _, contents in ipairs(request.unwanted) do
      contents_drop(source, contents)
    end
    for key, plan in pairs(request.known) do
      if plan.message then -- else it was known before
        redis.call('SET', key, plan.count .. ' ' .. plan.full, 'PX', digits(source.dedup * 1000))
      end
    end
  end

  local function contents_named(from, to)
    local named, at = {}, from
    while at <= to do
      named[#named + 1] = ARGV[at + 1]
      at = at + RUN + ARGV[at + 5]
    end
    return named
  end

  -- Publish the runs that stand in ARGV from `from` to `to`.
  function publish(feed, nonce, once, keep, from, to)
    local source = source_get(feed)
    if not source then
      return { 'missing' }
    end
    local kind = feed_types[source.type]
    if not kind then
      return { 'unknown_type' }
    end
    local answer = once_answer(domain, source.id, once)
    if answer == false then
      return { 'once_differs' }
    elseif answer then
      for _, contents in ipairs(contents_named(from, to)) do
        contents_drop(source, contents)
      end
      return answer
    end
    letter_feeds = {}
    local request = {
      reply = { 'ok', kind.counts and 1 or 0 }, plans = {}, claimed = {}, known = {}, unwanted = {},
      left = tonumber(deliveries),
    }
    local refusal = request_plan(source, request, from, to)
    if not refusal and quota ~= '0' and not quota_take(domain, quota, request_bytes(source, request)) then
      refusal = 'no_room'
    end
    if refusal then
      calls_forget(domain)
      if refusal == 'apart' and from == FIRST then
        refusal = 'too_dear' -- it was all its own
      end
      return { refusal }
    end
    request_commit(source, request, nonce)
    once_keep(domain, source.id, once, request.reply, keep)
    return request.reply
  end
end
