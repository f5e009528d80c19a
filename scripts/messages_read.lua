#!lua flags=allow-oom
-- Messages of a pipe, those after a number, oldest first: `most` of them, and of
-- bytes `room`, but one at least. With them, the number of the last one looked at;
-- `more` where that is all, for those that have expired are passed over. Where there
-- is none: `next`, the number before the one to come, and whether the pipe could take
-- one of its feeds now (see message_pull).
local domain = KEYS[1]
local pipe = ARGV[1]
local after = ARGV[2]
local most = ARGV[3]
local room = ARGV[4]
local embed = ARGV[5]
local idle = ARGV[6]

--@ include profiles lib_state lib_body lib_pipe lib_content

local key = pipe_key(domain, pipe)
local state = redis.call('HMGET', key, 'last', 'type', 'dropped', 'since')
if not state[1] then
  return { 'missing' }
end
pipe_touch(domain, pipe, tonumber(idle))
-- What has not come yet, nobody has read. (What was lost, somebody may have.)
if tonumber(after) > tonumber(state[1]) and tonumber(after) >= number_after(domain, state[1], state[4]) then
  after = '0'
end
local entries = redis.call('XRANGE', key .. ':messages', digits(after + 1), '+', 'COUNT', most)
if not entries[1] then
  local kind = pipe_types[state[2]]
  local pulls = kind and kind.pulls and redis.call('XLEN', key .. ':messages') == 0
  return { 'next', digits(number_after(domain, state[1], state[4]) - 1), pulls and 1 or 0 }
end

-- The blob of a message that is all in its entry and needs no word more, as most are.
local function plain_blob(fields)
  if state[3] then
    return nil
  elseif fields[1] == 'm' then
    return fields[2]
  elseif fields[5] == 'm' then
    for i = 7, #fields, 2 do
      if fields[i] == 'r' or fields[i] == 'd' then
        return nil
      end
    end
    return fields[6]
  end
end

-- What else a message may be: its blob, or where that is not all, its message_reply.
local function told(entry)
  local message = entry_message(domain, entry)
  if not message then
    return nil, 0
  end
  if message.contents == '' and message.redelivered == '0' and message.death == '' and not state[3] then
    return message.blob, #message.blob
  end
  local number = string.match(entry[1], '^%d+')
  local reply = message_reply(domain, pipe, number, message, embed, state[3])
  local size = #message.blob
  for _, part in ipairs(reply[4]) do
    size = size + (part[4] and #part[4] or 0)
  end
  return reply, size
end

local found, count, seen = {}, 0, nil
room = tonumber(room)
for _, entry in ipairs(entries) do
  local blob, size = plain_blob(entry[2]), nil
  if blob then
    size = #blob
  else
    blob, size = told(entry)
  end
  if size > room and count > 0 then
    break
  end
  seen = entry[1]
  if blob then
    room = room - size
    found[count + 1] = seen
    found[count + 2] = blob
    count = count + 2
  end
end
return { count > 0 and 'ok' or 'more', string.match(seen, '^%d+'), found }
