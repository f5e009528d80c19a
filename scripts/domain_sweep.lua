#!lua flags=allow-oom
-- A round of housekeeping by the node that holds the lease: idle pipes, and the trash.
local domain = KEYS[1]
local node = ARGV[1]
local lease = ARGV[2]
local most = ARGV[3]

--@ include profiles lib_state lib_pipe lib_join lib_removal

local holder = redis.call('GET', domain .. ':lease')
if holder and holder ~= node then
  return { 'held' }
end
redis.call('SET', domain .. ':lease', node, 'PX', lease)
local idle = redis.call('ZRANGEBYSCORE', domain .. ':idle', '-inf', now_ms, 'LIMIT', 0, most)
for _, pipe in ipairs(idle) do
  pipe_remove(domain, pipe)
end
local more = trash_release(domain) or #idle == tonumber(most)
return { more and 'more' or 'ok', #idle }
