#!lua flags=allow-oom
-- A node has a new link to the server of a domain. It works with one `format` of the state: what
-- is of another is left as it is, and the node is told of which. Has the domain come to a server,
-- or to a `run` of one, that may have lost its last writes, no number of a message that was given
-- out for them may be given out again: the numbers go on from a floor above all of those.
-- `rested` is the run that ended in order, with all its writes, just before this one.
local domain = KEYS[1]
local run = ARGV[1]
local rested = ARGV[2]
local format = ARGV[3]

--@ include lib_state

-- More numbers than a pipe can give out in a millisecond. It will do until 2164: beyond 2^53
-- Lua cannot count.
local NUMBERS_A_MS = 2048
local BEGINNING = 1735689600000 -- ms, 2025
local LEAP = 2 ^ 31

local known = redis.call('HMGET', domain, 'run', 'floor', 'version', 'format')
-- One that nobody has entered has no history; but one of an older node has.
local new = not (known[1] or known[3])
local found = tonumber(known[4] or (new and format or 0))
if found ~= tonumber(format) then
  return { found < tonumber(format) and 'older' or 'newer', found }
end
if new then
  redis.call('HSET', domain, 'format', format)
end
if known[1] == run then
  return { 'ok', 0 }
end
redis.call('HSET', domain, 'run', run)
if new or known[1] == rested then
  return { 'ok', 0 }
end
local before = tonumber(known[2] or 0)
local floor = (now_ms - BEGINNING) * NUMBERS_A_MS
if floor <= before then
  -- The clock was set back. Two servers that go on from one state must not leap alike.
  floor = before + 1 + tonumber(string.sub(redis.sha1hex(run), 1, 8), 16) % LEAP
end
redis.call('HSET', domain, 'floor', digits(floor))
return { 'ok', 1 }
