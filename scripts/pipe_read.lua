#!lua flags=allow-oom
-- A pipe's description: its joins, its oldest messages, the number of its last message.
local domain = KEYS[1]
local pipe = ARGV[1]
local most = ARGV[2]
local idle = ARGV[3]

--@ include profiles lib_state lib_body lib_pipe lib_join

local key = pipe_key(domain, pipe)
local state = redis.call('HMGET', key, 'type', 'title', 'version', 'last', 'since')
if not state[1] then
  return { 'missing' }
end
pipe_touch(domain, pipe, tonumber(idle))
local last = digits(number_after(domain, state[4], state[5]) - 1)
if last ~= state[4] then
  -- It tells another asynclet than before, so it is another version.
  state[3], state[4] = digits(next_version(state[3])), last
  redis.call('HSET', key, 'version', state[3], 'last', last)
end
local joins = {}
for _, join in ipairs(redis.call('HVALS', key .. ':joins')) do
  local record = join_live(domain, join)
  if record then
    joins[#joins + 1] = { tonumber(record.serial), join_reply(join, record) }
  end
end
table.sort(joins, function(a, b) return a[1] < b[1] end)
for i, join in ipairs(joins) do
  joins[i] = join[2]
end
local messages = {}
local entries = redis.call('XRANGE', key .. ':messages', '-', '+', 'COUNT', most + 1)
for i = 1, math.min(#entries, most) do
  local fields = entry_fields(entries[i])
  if not fields['e'] or tonumber(fields['e']) > now_ms then
    -- A short message says its address and its message_id itself.
    messages[#messages + 1] = { entries[i][1], fields['a'] or false, fields['i'] or fields['m'] }
  end
end
return { 'ok', state[1], state[2], state[3], state[4], joins, messages, #entries > tonumber(most) and 1 or 0 }
