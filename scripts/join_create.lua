#!lua
-- Join a pipe to a feed; a join that the pipe already has is answered as it stands.
local domain = KEYS[1]
local pipe = ARGV[1]
local join = ARGV[2]
local feed = ARGV[3]
local type = ARGV[4]
local address = ARGV[5]
local headers = ARGV[6]
local most = ARGV[7]
local idle = ARGV[8]

--@ include profiles lib_state lib_pipe lib_join lib_feed

local key = pipe_key(domain, pipe)
if redis.call('EXISTS', key) == 0 then
  return { 'missing' }
end
local source = feed_get(domain, feed)
if not source then
  return { 'no_feed' }
end
if feed == 'default' then
  return { 'reserved' } -- each pipe has its one join there from birth
end
local kind = feed_types[source.type]
if not kind then
  return { 'unknown_type' } -- a feed of a profile that this node does not have
end
local canonical = kind.join_types[type]
if not canonical then
  return { 'unknown_type' }
end
if not kind.headers then
  headers = ''
end
pipe_touch(domain, pipe, tonumber(idle))
local present = redis.call('HGET', key .. ':joins', join_selector(source.id, canonical, address, headers))
if present then
  return { 'exists', join_reply(present, join_get(domain, present)) }
end
if redis.call('HLEN', key .. ':joins') > tonumber(most) then -- the one on `default` is free
  return { 'too_many' }
end
local record = {
  pipe = pipe, feed = feed, id = source.id, kind = source.type, type = canonical, address = address,
  headers = headers, serial = digits(redis.call('HINCRBY', domain, 'serial', 1)), version = digits(now),
}
join_add(domain, join, record)
pipe_changed(domain, pipe)
return { 'ok', join_reply(join, record) }
