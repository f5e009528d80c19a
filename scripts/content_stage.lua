#!lua
-- Keep a content for a message that will name it; it expires by itself if none does.
local domain = KEYS[1]
local feed = ARGV[1]
local content = ARGV[2]
local type = ARGV[3]
local size = ARGV[4]
local keep = ARGV[5]
local once = ARGV[6]
local once_milliseconds = ARGV[7]
local chunks = 8 -- ARGV from here on: the bytes, cut into chunks

--@ include lib_state lib_feed lib_once

local source = feed_get(domain, feed)
if not source then
  return { 'missing' }
end
local answer = once_answer(domain, source.id, once)
if answer == false then
  return { 'once_differs' }
elseif answer and redis.call('EXISTS', domain .. ':content:' .. answer[2]) == 1 then
  return answer -- else nobody published it in time, and it is staged anew
end
local key = domain .. ':content:' .. content
redis.call('HSET', key, 'type', type, 'size', size, 'feed', feed, 'id', source.id,
  'version', digits(now), 'chunks', #ARGV - chunks + 1)
for i = chunks, #ARGV do
  redis.call('HSET', key, i - chunks, ARGV[i])
end
redis.call('PEXPIRE', key, keep)
once_keep(domain, source.id, once, { 'exists', content }, once_milliseconds)
return { 'ok' }
