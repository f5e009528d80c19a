#!lua flags=allow-oom
-- A round of housekeeping by the node that holds the lease: idle pipes, the trash, contents that
-- nobody published.
local domain = KEYS[1]
local node = ARGV[1]
local lease = ARGV[2]
local pipes = ARGV[3]
local idle = ARGV[4]
local bounds = ARGV[5]

-- First of all: every node asks, and all but one are done here.
local holder = redis.call('GET', domain .. ':lease')
if holder and holder ~= node then
  return { 'held' }
end

--@ include profiles lib_messaging lib_removal

redis.call('SET', domain .. ':lease', node, 'PX', lease)
-- While no node swept, no node served: readers could not use their pipes, and
-- have the whole idle time from now on to come back.
local swept = redis.call('HMGET', domain, 'swept', 'collect_after')
if swept[1] and now_ms - tonumber(swept[1]) > 2 * tonumber(lease) then
  swept[2] = digits(now_ms + tonumber(idle))
  redis.call('HSET', domain, 'collect_after', swept[2])
end
redis.call('HSET', domain, 'swept', digits(now_ms))
local unused = {}
if now_ms >= tonumber(swept[2] or 0) then
  unused = redis.call('ZRANGEBYSCORE', domain .. ':idle', '-inf', now_ms, 'LIMIT', 0, pipes)
end
for _, pipe in ipairs(unused) do
  pipe_remove(domain, pipe)
end
local more = trash_release(domain) or #unused == tonumber(pipes)
more = contents_sweep(domain) or more
settle_and_ring(domain)
-- What was counted since the last sweep, by whichever node's calls, is told to this one.
local counted = { 'lost', 'unroutable', 'routed', 'redelivered', 'expired', 'dead_lettered' }
local told = redis.call('HMGET', domain, unpack(counted))
for i = 1, #counted do
  told[i] = tonumber(told[i] or 0)
end
redis.call('HDEL', domain, unpack(counted))
return { more and 'more' or 'ok', #unused, unpack(told) }
