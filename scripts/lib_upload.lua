-- Making a content, at once or chunk by chunk.

-- A content that belongs to no message is kept for so many ms from now.
local function content_keep(domain, content, milliseconds)
  redis.call('ZADD', domain .. ':loose', digits(now_ms + milliseconds), content)
end

-- The answer to a request that was made before; nil where nobody published what it staged
-- in time, so that it is staged anew.
local function upload_answer(domain, source, once)
  local answer = once_answer(domain, source.id, once)
  if answer == false then
    return { 'once_differs' }
  elseif answer and redis.call('HEXISTS', content_key(domain, answer[2]), 'type') == 1 then
    return answer
  end
end

-- A whole content, for whoever may name it: found from here on.
local function content_write(domain, content, source, type, size)
  redis.call('HSET', content_key(domain, content), 'type', type, 'size', size,
    'feed', source.key, 'id', source.id, 'version', digits(now))
end
