#!lua
-- Join a pipe to a feed; a join that the pipe already has is answered as it stands.
local domain = KEYS[1]
local pipe = ARGV[1]
local join = ARGV[2]
local feed = ARGV[3]
local type = ARGV[4]
local address = ARGV[5]
local headers = ARGV[6]
local match = ARGV[7]
local joins = ARGV[8]
local idle = ARGV[9]
local bounds = ARGV[10]

--@ include profiles lib_messaging

local key = pipe_key(domain, pipe)
local pipe_type = redis.call('HGET', key, 'type')
if not pipe_type then
  return { 'missing' }
end
local source = feed_get(domain, feed)
if not source then
  return { 'no_feed' }
end
if feed == 'default' and not pipe_types[pipe_type].pulls then
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
local pulls = pipe_types[pipe_type].pulls
if pulls and not kind.queues then
  return { 'not_queueing' } -- nothing to take a message from
end
if kind.headers and match == '' then
  return { 'bad_match' }
end
if not kind.headers then
  headers, match = '', ''
end
pipe_touch(domain, pipe, tonumber(idle))
local present = redis.call('HGET', key .. ':joins', join_selector(source.id, canonical, address, headers))
if present then
  return { 'exists', join_reply(present, join_get(domain, present)) }
end
if redis.call('HLEN', key .. ':joins') > tonumber(joins) then -- the one on `default` is free
  return { 'too_many' }
end
local record = {
  pipe = pipe, feed = feed, id = source.id, kind = source.type, type = canonical, address = address,
  headers = headers, match = match, serial = digits(redis.call('HINCRBY', domain, 'serial', 1)), version = digits(now),
}
if kind.check and not kind.check(record) then
  return { 'bad_join' }
end
join_add(domain, join, record, pulls)
pipe_changed(domain, pipe)
if kind.queues then
  stirred[feed] = source -- what waited for somebody to come
end
settle_and_ring(domain)
return { 'ok', join_reply(join, record) }
