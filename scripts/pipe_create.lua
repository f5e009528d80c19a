#!lua
-- Create a pipe, joined to the feed `default` at the pipe's own name (3/Defaults);
-- but a pipe that takes its messages itself has nothing to take them from there.
local domain = KEYS[1]
local pipe = ARGV[1]
local name = ARGV[2]
local join = ARGV[3]
local type = ARGV[4]
local title = ARGV[5]
local most = ARGV[6]
local idle = ARGV[7]

--@ include profiles lib_state lib_body lib_pipe lib_join lib_feed

local feed = feed_get(domain, 'default')
if not feed then
  return { 'missing' }
end
local kind = pipe_types[type]
if not kind then
  return { 'unknown_type' }
end
local canonical = kind.name
if redis.call('ZCARD', domain .. ':idle') >= tonumber(most) then
  return { 'too_many' }
end
local key = pipe_key(domain, pipe)
local version = digits(now)
redis.call('HSET', key, 'type', canonical, 'title', title, 'version', version, 'last', 0, 'shared', 0)
local floor = redis.call('HGET', domain, 'floor')
if floor then
  redis.call('HSET', key, 'since', floor) -- nobody has had a number of it yet: it counts from 1
end
-- The stream must exist from the start: its events are the pipe's hints.
redis.call('XADD', key .. ':messages', '0-1', '-', '-')
redis.call('XDEL', key .. ':messages', '0-1')
pipe_touch(domain, pipe, tonumber(idle))
if kind.pulls then
  return { 'ok', canonical, title, version }
end
local record = {
  pipe = pipe, feed = 'default', id = feed.id, kind = feed.type, type = '', address = name,
  headers = '', match = '', serial = digits(redis.call('HINCRBY', domain, 'serial', 1)), version = version,
}
join_add(domain, join, record)
return { 'ok', canonical, title, version, join_reply(join, record) }
