-- What every transition that moves messages does in the end.

local function letter_post(domain, letter)
  nodes_in_all = 0 -- it is not lost because others were dear; it has a bound of its own
  local record = feed_get(domain, letter.feed)
  local message = letter.message
  if not message.body then
    body_store(domain, 'l' .. redis.call('HINCRBY', domain, 'serial', 1), message, 1)
  end
  local dead = message_make({})
  for name, value in pairs(message) do
    dead[name] = value
  end
  dead.hops = (message.hops or 0) + 1
  dead.death = letter.reason .. ' ' .. letter.times .. ' ' .. letter.from
  dead.expires, dead.redelivered = 0, 0
  -- The headers that its readers will see, its own and those of its last death; a
  -- private feed's name stays private.
  local headers = {
    redis.sha1hex('x-death-reason\0' .. letter.reason),
    redis.sha1hex('x-death-count\0' .. letter.times),
  }
  if feed_is_public(letter.from) then
    headers[#headers + 1] = redis.sha1hex('x-death-feed\0' .. letter.from)
  end
  local own = redis.call('HGET', body_key(domain, message.body), 'h') or ''
  for digest in string.gmatch(own, '%x+') do
    headers[#headers + 1] = digest
  end
  table.sort(headers)
  dead.headers = table.concat(headers, ' ')
  local taken = record and dead.hops <= HOPS and route_stored(domain, record, dead)
  tell(taken and 'dead_lettered' or 'lost', 1)
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
      more = queue.dispatch(domain, record) or more
    end
  end
  pipes_flush(domain)
  tally_write(domain)
  return more or works_count(domain) > 0
end

-- Let go of what a call planned that is refused, or broke: nothing of it is for the next.
-- What was given to pipes before stays theirs.
local function calls_forget(domain)
  pipes_flush(domain)
  works.forget()
end

-- Finish, and call for a node to do what is left.
local function settle_and_ring(domain)
  if settle(domain) then
    due_ring(domain)
  end
end
