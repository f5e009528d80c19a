#!lua flags=allow-oom
-- Bring a domain's state to the `format` that the node works with, if it is of an older one.
local domain = KEYS[1]
local format = ARGV[1]

-- From each format to the next one. A step is one call with all others, so what it changes must
-- be little; what can be much is changed when it is next used.
local steps = {
  -- Before formats had numbers, there was no other difference.
  [0] = function() end,
}

local found = tonumber(redis.call('HGET', domain, 'format') or 0)
for step = found, format - 1 do
  steps[step]()
  redis.call('HSET', domain, 'format', step + 1)
end
return { 'ok', found }
