#!lua flags=allow-oom
-- The messages of those numbers; `next` where one is the one to come. Then it is told
-- whether the pipe could take one of its feeds now (see message_pull). `apart`: one is to
-- be asked for again, the answer is long enough.
local domain = KEYS[1]
local embed = ARGV[1]
local idle = ARGV[2]
local calls = 3 -- ARGV from here on, of each call: pipe, number

--@ include profiles lib_state lib_body lib_pipe lib_content

local ROOM = 2 * 1024 * 1024 -- bytes of messages in one answer, or one message

local room = ROOM

local function read(pipe, number)
  if room <= 0 then
    return { 'apart' }
  end
  local key = pipe_key(domain, pipe)
  local state = redis.call('HMGET', key, 'last', 'type', 'dropped', 'since')
  if not state[1] then
    return { 'missing' }
  end
  pipe_touch(domain, pipe, tonumber(idle))
  local message = message_get(domain, pipe, number)
  if message then
    room = room - #message.blob
    return message_reply(domain, pipe, number, message, embed, state[3])
  end
  if tonumber(number) ~= number_after(domain, state[1], state[4]) then
    return { 'missing' }
  end
  local kind = pipe_types[state[2]]
  local pulls = kind and kind.pulls and redis.call('XLEN', key .. ':messages') == 0
  return { 'next', pulls and 1 or 0 }
end

local replies = {}
for i = calls, #ARGV, 2 do
  replies[#replies + 1] = answered(read, ARGV[i], ARGV[i + 1])
end
return replies
