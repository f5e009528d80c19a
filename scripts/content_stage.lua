#!lua
-- Keep a content for a message that will name it; it expires by itself if none does.
local domain = KEYS[1]
local feed = ARGV[1]
local content = ARGV[2]
local type = ARGV[3]
local size = ARGV[4]
local keep = ARGV[5]
local once = ARGV[6]
local once_keep = ARGV[7]
local chunks = 8 -- ARGV from here on: the bytes, cut into chunks

--@ include lib_state lib_feed

local source = feed_get(domain, feed)
if not source then
  return { 'missing' }
end
-- `once` is a digest of the client's key for this request, and one of the request.
local once_key, once_request
if once ~= '' then
  local name, request = string.match(once, '^(%x+) (%x+)$')
  once_key, once_request = domain .. ':once:' .. source.id .. ':' .. name, request
  local kept = redis.call('HMGET', once_key, 'request', 'content')
  if kept[1] then
    return kept[1] == request and { 'exists', kept[2] } or { 'once_differs' }
  end
end
local key = domain .. ':content:' .. content
redis.call('HSET', key, 'type', type, 'size', size, 'feed', feed, 'id', source.id,
  'version', digits(now), 'chunks', #ARGV - chunks + 1)
for i = chunks, #ARGV do
  redis.call('HSET', key, i - chunks, ARGV[i])
end
redis.call('PEXPIRE', key, keep)
if once_key then
  redis.call('HSET', once_key, 'request', once_request, 'content', content)
  redis.call('PEXPIRE', once_key, once_keep)
end
return { 'ok' }
