#!lua flags=allow-oom
-- The reader of an ondemand pipe waits no longer: it is not to be called.
local domain = KEYS[1]
local pipe = ARGV[1]
local bounds = ARGV[2]

--@ include profiles lib_messaging

for _, join in ipairs(queue.joins(domain, pipe)) do
  redis.call('ZREM', turns_key(domain, join.id), '?' .. pipe .. ' ' .. join.join)
  redis.call('ZREM', called_key(domain, join.id), pipe)
  -- It may have been called for a message already: somebody else is to have it.
  stirred[join.feed] = feed_get(domain, join.feed)
end
settle_and_ring(domain)
local last = redis.call('HGET', pipe_key(domain, pipe), 'last')
if last then
  pipe_ring(domain, pipe, tonumber(last)) -- another reader of this pipe may wait on
end
return { 'ok' }
