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

-- Whoever joins in very many ways to what begins alike, and posts what fits them all,
-- would make one message dear for everybody: so many nodes may be asked for.
local NODES = 10000 -- for one message
local NODES_IN_ALL = 200000 -- in one call

local TOO_DEAR, APART = {}, {} -- thrown where they are more, of a message or of a call

local nodes_asked, nodes_in_all = 0, 0

-- Which of some nodes there are: a list of true and false.
local function tree_has(index, nodes)
  nodes_asked, nodes_in_all = nodes_asked + #nodes, nodes_in_all + #nodes
  if nodes_asked > NODES then
    error(TOO_DEAR)
  elseif nodes_in_all > NODES_IN_ALL then
    error(APART)
  end
  local found = {}
  for from = 1, #nodes, 1000 do -- as many as Lua passes to a function
    local some = redis.call('HMGET', index .. ':tree', unpack(nodes, from, math.min(from + 999, #nodes)))
    for i = 1, #some do
      found[from + i - 1] = some[i] and true or false
    end
  end
  return found
end

-- The places where a message looks, by its feed's type; nil and a word where it is not
-- to be matched.
local function places_of(kind, index, message)
  nodes_asked = 0
  if kind.accepts and not kind.accepts(message) then
    return nil, 'bad_address'
  end
  local well, places = pcall(kind.match, index, message)
  if well then
    return places
  elseif places == TOO_DEAR then
    return nil, 'too_dear'
  elseif places == APART then
    return nil, 'apart' -- it is to be asked for in another call
  end
  error(places, 0)
end
