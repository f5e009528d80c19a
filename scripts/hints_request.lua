#!lua flags=allow-oom
-- Ask all nodes' transitions to publish hints for a while: keyspace events cannot be had.
local domain = KEYS[1]
local keep = ARGV[1]

redis.call('SET', domain .. ':hints', 1, 'PX', keep)
return { 'ok' }
