-- The quota of a domain: the bytes that it may take in Redis. How many it takes is measured
-- now and then (domain_measure): to count what goes would make acknowledging dear. What
-- comes is counted, in `stored`, which only grows and stood at `base` when the last whole
-- measure, `bytes`, began. So no less is reckoned than there is, and more until the next one.

local ENTRY = 200 -- bytes of a message in a pipe's stream, beside what it says
local STORED = 1200 -- bytes of a key that stands for a message or a content, beside that
local SLACK = 1.25 -- what the allocator may take for a byte of a large value

-- Reckon with so many bytes more; false where the domain has no room for them.
local function quota_take(domain, quota, bytes)
  local known = redis.call('HMGET', domain, 'bytes', 'stored', 'base')
  local taken = (known[1] or 0) + (known[2] or 0) - (known[3] or 0)
  if taken + bytes > tonumber(quota) then
    return false
  end
  redis.call('HINCRBY', domain, 'stored', digits(math.ceil(bytes)))
  return true
end
