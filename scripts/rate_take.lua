#!lua flags=allow-oom
-- Take from buckets what requests cost, if they hold enough. A bucket of `quota` fills
-- evenly in `window` microseconds: the generic cell rate algorithm (ITU-T I.371), kept as
-- what is missing. It is counted in shares, `quota` a microsecond, so that all of it is
-- whole numbers. A negative cost gives back. The answer: what is left, and the
-- microseconds until all is there again; of a refusal also those until enough is.
local domain = KEYS[1]
local time = ARGV[1]
local calls = 2 -- ARGV from here on, of each call: bucket, quota, window, cost

--@ include lib_state

local least = 1 -- milliseconds that a bucket is kept
if time ~= '' then
  now = tonumber(time) -- a test's, while keys expire by Redis's own
  least = 60000
end

local function take(bucket, quota, window, cost)
  local key = domain .. ':rate:' .. bucket
  quota, window, cost = tonumber(quota), tonumber(window), tonumber(cost)
  local missing, at = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  missing, at = tonumber(missing or 0), tonumber(at or now)
  if at < now then -- else the clock was set back: nothing is filled twice
    missing, at = math.max(0, missing - (now - at) * quota), now
  end
  local most, wanted = quota * window, math.max(0, missing + cost * window)
  local refused = cost > 0 and wanted > most
  local kept = refused and missing or wanted
  if kept == 0 then
    redis.call('DEL', key)
  elseif not refused then
    redis.call('SET', key, digits(kept) .. ' ' .. digits(at), 'PX',
      digits(math.max(least, math.ceil((kept / quota + at - now) / 1000))))
  end
  local ahead = at - now
  local left, full = math.floor((most - kept) / window), math.ceil(kept / quota) + ahead
  if refused then
    return { 'too_many', left, full, math.ceil((wanted - most) / quota) + ahead }
  end
  return { 'ok', left, full }
end

local replies = {}
for i = calls, #ARGV, 4 do
  replies[#replies + 1] = answered(take, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
return replies
