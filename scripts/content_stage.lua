#!lua
-- Keep a content for a message that will name it; it expires if none does.
local domain = KEYS[1]
local feed = ARGV[1]
local content = ARGV[2]
local type = ARGV[3]
local size = ARGV[4]
local keep = ARGV[5]
local once = ARGV[6]
local once_milliseconds = ARGV[7]
local quota = ARGV[8]
local chunks = 9 -- ARGV from here on: the bytes, cut into chunks

--@ include lib_state lib_feed lib_once lib_chunk lib_upload lib_quota

local source = feed_get(domain, feed)
if not source then
  return { 'missing' }
end
local answer = upload_answer(domain, source, once)
if answer then
  return answer
end
if quota ~= '0' and not quota_take(domain, quota, size * SLACK + STORED) then
  return { 'no_room' }
end
local key, count = content_key(domain, content), #ARGV - chunks + 1
content_write(domain, content, source, type, size)
if count > 1 then
  for i = chunks, #ARGV do
    redis.call('SET', chunk_key(domain, content, i - chunks), ARGV[i])
  end
  redis.call('HSET', key, 'chunks', count)
  content_keep(domain, content, keep)
else
  redis.call('HSET', key, 'data', ARGV[chunks] or '')
  redis.call('PEXPIRE', key, keep)
end
once_keep(domain, source.id, once, { 'exists', content }, once_milliseconds)
return { 'ok' }
