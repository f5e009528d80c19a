#!lua flags=no-writes
-- A domain and its public feeds, oldest first.
local domain = KEYS[1]

--@ include lib_state lib_feed

local state = redis.call('HMGET', domain, 'title', 'version')
if not state[2] then
  return { 'missing' }
end
local feeds = {}
for _, name in ipairs(redis.call('ZRANGE', domain .. ':feeds', 0, -1)) do
  feeds[#feeds + 1] = feed_reply(name, feed_get(domain, name))
end
return { 'ok', state[1], state[2], feeds }
