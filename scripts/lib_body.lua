-- A body: a message that is stored once for all who hold it (pipes, a feed's
-- queue, a work). Who holds it is counted; the last one frees it.
--
-- In the scripts a message is a table: `address`, `id` (its message_id),
-- `blob`, `contents` (a word for each content: the secret of one that is stored
-- apart, or `-`), `headers` (digests), `feed` (id and key of the feed it was
-- posted to), `priority` (0 to 9), `expires` (ms, 0 for never), `redelivered`
-- (how often), `death` (why and from where it became a dead letter), and, once
-- it has one, `body`.

--@ include lib_chunk

-- What most messages are, so that a message need not say so itself.
local PLAIN = {
  __index = { headers = '', contents = '', priority = 0, expires = 0, redelivered = 0, death = '' },
}

local function message_make(message)
  return setmetatable(message, PLAIN)
end

local function body_key(domain, body)
  return domain .. ':body:' .. body
end

local function contents_free(domain, contents)
  for content in string.gmatch(contents, '%x+') do
    content_free(domain, content)
  end
end

local function body_store(domain, body, message, holders)
  message.body = body
  redis.call('HSET', body_key(domain, body), 'm', message.blob, 'c', message.contents, 'n', holders,
    'a', message.address, 'i', message.id, 'h', message.headers, 'f', message.feed,
    'p', message.priority, 'e', digits(message.expires))
end

local function body_get(domain, body)
  local values = redis.call('HMGET', body_key(domain, body), 'a', 'i', 'h', 'f', 'p', 'e')
  return message_make({
    body = body, address = values[1], id = values[2], headers = values[3], feed = values[4],
    priority = tonumber(values[5]) or 0, expires = tonumber(values[6]) or 0,
  })
end

local function body_hold(domain, body, holders)
  redis.call('HINCRBY', body_key(domain, body), 'n', holders)
end

local function body_release(domain, body)
  local key = body_key(domain, body)
  if redis.call('HINCRBY', key, 'n', -1) <= 0 then
    local contents = redis.call('HGET', key, 'c')
    if contents then
      contents_free(domain, contents)
    end
    redis.call('UNLINK', key)
  end
end

local INLINE = 4096 -- bytes; a larger blob would make listing a pipe slow

-- Store a message for so many holders, or count them where it is stored.
local function message_store(domain, message, name, holders)
  if message.body then
    body_hold(domain, message.body, holders)
  else
    body_store(domain, name, message, holders)
  end
end
