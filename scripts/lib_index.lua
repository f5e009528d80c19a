-- A feed's index: where its joins stand, so that a message finds those that
-- want it without looking at the others. For profiles to build theirs with.
--
-- A place is a sorted set of the pipes that are joined there, by the serial of
-- the join: whatever a message's work has served can be told by one number.
-- Which places there are is told by the index's tree, a hash that counts the
-- joins beyond each of its nodes.

local function place_key(index, place)
  return index .. ':at:' .. place
end

-- A pipe that comes to one place by several joins stands there once; those
-- beyond the first are counted.
local function place_enter(index, place, pipe, serial)
  if redis.call('ZADD', place_key(index, place), 'NX', serial, pipe) == 0 then
    redis.call('HINCRBY', index .. ':extra', pipe .. ' ' .. place, 1)
  end
end

local function place_leave(index, place, pipe)
  local extra, field = index .. ':extra', pipe .. ' ' .. place
  local more = tonumber(redis.call('HGET', extra, field) or 0)
  if more > 1 then
    redis.call('HINCRBY', extra, field, -1)
  elseif more == 1 then
    redis.call('HDEL', extra, field)
  else
    redis.call('ZREM', place_key(index, place), pipe)
  end
end

local function tree_grow(index, nodes)
  for _, node in ipairs(nodes) do
    redis.call('HINCRBY', index .. ':tree', node, 1)
  end
end

local function tree_prune(index, nodes)
  for _, node in ipairs(nodes) do
    if redis.call('HINCRBY', index .. ':tree', node, -1) <= 0 then
      redis.call('HDEL', index .. ':tree', node)
    end
  end
end

-- Which of some nodes there are: a list of true and false.
local function tree_has(index, nodes)
  local found = {}
  for from = 1, #nodes, 1000 do -- as many as Lua passes to a function
    local some = redis.call('HMGET', index .. ':tree', unpack(nodes, from, math.min(from + 999, #nodes)))
    for i = 1, #some do
      found[from + i - 1] = some[i] and true or false
    end
  end
  return found
end
