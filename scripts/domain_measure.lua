#!lua flags=allow-oom
-- Measure what a domain takes in Redis, a chunk of its keys in a call: they are all the
-- keys that begin with its name. Who measures holds a lease. A measure that ends on another
-- server than it began on is worth nothing. `state` is how far it is, empty to begin.
local domain = KEYS[1]
local node = ARGV[1]
local lease = ARGV[2]
local state = ARGV[3]
local names = 4 -- ARGV from here on: keys that were found and are not measured

--@ include lib_state

local WORK = 2000 -- keys measured in one call, or as much work
local FOUND = 500 -- keys looked at in one step of the walk
local LOOKED = 5 -- keys that are looked at for as much as one is measured
local ENTRIES = 10 -- of a stream, that are looked at for that
local SAMPLES = 1000 -- elements that are measured of a key
local NODES = 20000 -- of a stream's: its first messages may be small, and later ones large

local holder = redis.call('GET', domain .. ':measuring')
local known = redis.call('HMGET', domain, 'run', 'stored')
known[1] = known[1] or '-'
local cursor, run, base, sum = string.match(state, '^(%S+) (%S+) (%d+) (%d+)$')
if not cursor then
  if holder and holder ~= node then
    return { 'held' }
  end
  cursor, run, base, sum = '0', known[1], known[2] or '0', '0'
elseif holder ~= node or run ~= known[1] then
  return { 'gone' }
end
redis.call('SET', domain .. ':measuring', node, 'PX', lease)

local spent, total = 0, tonumber(sum)

local function measure(key)
  spent = spent + 1
  local samples = SAMPLES
  if string.sub(key, -9) == ':messages' then
    spent, samples = spent + math.min(NODES, redis.call('XLEN', key)) / ENTRIES, NODES
  end
  total = total + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', samples) or 0)
end

local found, at = { unpack(ARGV, names) }, 1
while spent < WORK do
  if found[at] then
    measure(found[at])
    at = at + 1
  elseif cursor == 'end' then
    break
  else
    cursor, found = unpack(redis.call('SCAN', cursor, 'MATCH', domain .. '*', 'COUNT', FOUND))
    cursor, at = cursor == '0' and 'end' or cursor, 1
    spent = spent + FOUND / LOOKED
  end
end
if found[at] or cursor ~= 'end' then
  state = table.concat({ cursor, run, base, digits(total) }, ' ')
  return { 'more', state, unpack(found, at) }
end
redis.call('HSET', domain, 'bytes', digits(total), 'base', base)
redis.call('DEL', domain .. ':measuring')
return { 'ok' }
