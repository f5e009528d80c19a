-- Making a content, at once or chunk by chunk.

-- A content that belongs to no message is kept for so many ms from now.
local function content_keep(domain, content, milliseconds)
  redis.call('ZADD', domain .. ':loose', digits(now_ms + milliseconds), content)
end

-- A whole content, for whoever may name it: found from here on.
local function content_write(domain, content, source, type, size)
  redis.call('HSET', content_key(domain, content), 'type', type, 'size', size,
    'feed', source.key, 'id', source.id, 'version', digits(now))
end
