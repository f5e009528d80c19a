#!lua
-- Put the last chunk to a content that is being uploaded: now it is whole, and staged.
-- A repeat of a request is known when all its bytes are, which is now.
local domain = KEYS[1]
local feed = ARGV[1]
local content = ARGV[2]
local type = ARGV[3]
local size = ARGV[4]
local place = ARGV[5]
local keep = ARGV[6]
local once = ARGV[7]
local once_milliseconds = ARGV[8]
local chunk = ARGV[9]
local quota = ARGV[10]

--@ include lib_state lib_feed lib_once lib_chunk lib_upload lib_quota

local source = feed_get(domain, feed)
if not source then
  return { 'missing' }
end
local answer = upload_answer(domain, source, once)
if answer then
  return answer
end
local key = content_key(domain, content)
if place ~= redis.call('HGET', key, 'chunks') then
  return { 'gone' }
end
if quota ~= '0' and not quota_take(domain, quota, #chunk * SLACK + STORED) then
  return { 'no_room' }
end
redis.call('SET', chunk_key(domain, content, place), chunk)
redis.call('HSET', key, 'chunks', place + 1)
content_write(domain, content, source, type, size)
content_keep(domain, content, keep)
once_keep(domain, source.id, once, { 'exists', content }, once_milliseconds)
return { 'ok' }
