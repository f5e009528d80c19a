-- What every transition needs: Redis's clock, versions, conditions, hints.

-- A table of functions that is filled when one of them is first used. Redis runs
-- a script's definitions at every call, and most calls need few of them.
local function module(fill)
  return setmetatable({}, {
    __index = function(functions, name)
      setmetatable(functions, nil)
      fill(functions)
      return functions[name]
    end,
  })
end

-- The answer to one of several calls. What breaks in one must not break the others.
local function answered(call, ...)
  local well, reply = pcall(call, ...)
  if well then
    return reply
  end
  return { 'broken', type(reply) == 'table' and reply.err or tostring(reply) }
end

-- Lua would print large numbers with an exponent.
local function digits(number)
  return string.format('%.0f', number)
end

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2] -- microseconds
local now_ms = math.floor(now / 1000)

-- A version is a time that always grows, even where the clock does not.
local function next_version(version)
  local last = tonumber(version) or 0
  return last < now and now or last + 1
end

-- Whether the client's copy is old. `versions` is empty where nothing is asked,
-- `unmodified` likewise; Last-Modified has whole seconds, so they are compared.
local function is_stale(version, versions, unmodified)
  if versions ~= '' then
    for known in string.gmatch(versions, '%S+') do
      if known == version then
        return false
      end
    end
    return true
  end
  return unmodified ~= '' and math.floor(tonumber(version) / 1000000) > tonumber(unmodified)
end

-- Resources other than pipes change rarely: their hint is always published.
local function ring(key)
  redis.call('PUBLISH', key, '')
end

-- Whatever is due sooner than the nodes expect is announced.
local function due_ring(domain)
  ring(domain .. ':due')
end

local function domain_changed(domain)
  redis.call('HSET', domain, 'version', next_version(redis.call('HGET', domain, 'version')))
  ring(domain)
end
