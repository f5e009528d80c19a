#!lua
-- Change a pipe's title.
local domain = KEYS[1]
local pipe = ARGV[1]
local versions = ARGV[2]
local unmodified = ARGV[3]
local type = ARGV[4]
local idle = ARGV[5]
local changes = 6 -- ARGV from here on: field, value

--@ include profiles lib_state lib_body lib_pipe

local key = pipe_key(domain, pipe)
local state = redis.call('HMGET', key, 'type', 'version')
if not state[1] then
  return { 'missing' }
end
if is_stale(state[2], versions, unmodified) then
  return { 'stale' }
end
if type ~= '' and not (pipe_types[type] and pipe_types[type].name == state[1]) then
  return { 'type_differs' }
end
pipe_touch(domain, pipe, tonumber(idle))
local changed = false
for i = changes, #ARGV, 2 do
  if redis.call('HGET', key, ARGV[i]) ~= ARGV[i + 1] then
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
    changed = true
  end
end
if changed then
  pipe_changed(domain, pipe)
end
return { 'ok' }
