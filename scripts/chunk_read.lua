#!lua flags=allow-oom
-- Some bytes of a content: from `first` on, to the end of their chunk, or `last`. A pipe
-- that they are read through is in use.
local domain = KEYS[1]
local content = ARGV[1]
local first = ARGV[2]
local last = ARGV[3]
local pipe = ARGV[4]
local idle = ARGV[5]

--@ include lib_state lib_chunk lib_pipe

local state = redis.call('HMGET', content_key(domain, content), 'type', 'data')
if not state[1] then
  return { 'missing' } -- whoever had it is done with it
end
if pipe ~= '' and redis.call('HEXISTS', pipe_key(domain, pipe), 'last') == 1 then
  pipe_touch(domain, pipe, tonumber(idle))
end
if state[2] then
  return { 'ok', string.sub(state[2], first + 1, last + 1) }
end
local length = redis.call('STRLEN', chunk_key(domain, content, 0))
local place = math.floor(first / length)
local start = place * length
return { 'ok', redis.call('GETRANGE', chunk_key(domain, content, place), first - start, last - start) }
