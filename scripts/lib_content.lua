-- Reading a content: of one that is small its bytes at once, of others chunk by chunk.

local function content_data(domain, content, chunks)
  local data = {}
  for place = 0, chunks - 1 do
    data[#data + 1] = redis.call('GET', chunk_key(domain, content, place))
  end
  return table.concat(data)
end

-- Type, size, version and bytes; no bytes where there are more than `most`.
local function content_get(domain, content, most)
  local key = content_key(domain, content)
  local state = redis.call('HMGET', key, 'type', 'size', 'version', 'chunks')
  if not state[1] then
    return nil
  end
  local data = false
  if tonumber(state[2]) <= tonumber(most) then
    data = state[4] and content_data(domain, content, tonumber(state[4])) or redis.call('HGET', key, 'data')
  end
  return { state[1], state[2], state[3], data }
end

-- An entry's message with its body, or nil. One that has expired is no more,
-- even where nobody has cleared it away yet.
local function entry_message(domain, entry)
  local fields = entry_fields(entry)
  if fields['e'] and tonumber(fields['e']) <= now_ms then
    return nil
  end
  local message = {
    id = entry[1], blob = fields['m'], contents = '',
    redelivered = fields['r'] or '0', death = fields['d'] or '',
  }
  if fields['b'] then
    local body = redis.call('HMGET', body_key(domain, fields['b']), 'm', 'c')
    message.blob, message.contents = body[1], body[2]
  end
  return message
end

-- The message of that number, or nil.
local function message_get(domain, pipe, number)
  local entry = redis.call('XRANGE', pipe_key(domain, pipe) .. ':messages', number, number)[1]
  return entry and entry_message(domain, entry)
end

local function words(text)
  local list = {}
  for word in string.gmatch(text, '%S+') do
    list[#list + 1] = word
  end
  return list
end

-- How a message is told to its reader. Of each content that is stored apart:
-- type and size, and its bytes where they are few. `thinned`: contents were
-- taken out of messages of this pipe.
local function message_reply(domain, pipe, number, message, embed, thinned)
  local parts = {}
  for i, content in ipairs(words(message.contents)) do
    parts[i] = content ~= '-' and content_get(domain, content, embed) or ''
  end
  local dropped = {}
  if thinned then
    dropped = redis.call('ZRANGEBYSCORE', pipe_key(domain, pipe) .. ':dropped', number, number)
  end
  return { 'ok', message.id, message.blob, parts, dropped, message.redelivered, message.death }
end
