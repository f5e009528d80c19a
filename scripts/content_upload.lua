#!lua
-- Put the next chunk to a content that is being uploaded, and keep what there is of it
-- for a while; with no chunk only that. It is freed when its upload does not go on.
local domain = KEYS[1]
local feed = ARGV[1]
local content = ARGV[2]
local place = ARGV[3]
local keep = ARGV[4]
local chunk = ARGV[5]
local quota = ARGV[6]

--@ include lib_state lib_feed lib_chunk lib_upload lib_quota

if not feed_get(domain, feed) then
  return { 'missing' }
end
local key = content_key(domain, content)
if place ~= (redis.call('HGET', key, 'chunks') or '0') then
  return { 'gone' } -- it was freed, or this call is late
end
if chunk ~= '' then
  if quota ~= '0' and not quota_take(domain, quota, #chunk * SLACK + ENTRY) then
    return { 'no_room' }
  end
  redis.call('SET', chunk_key(domain, content, place), chunk)
  redis.call('HSET', key, 'chunks', place + 1)
end
content_keep(domain, content, keep)
return { 'ok' }
