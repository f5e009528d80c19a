-- 4/AMQP9: feeds that route as AMQP's exchanges do, and feeds that share their messages out.

local JOIN_TYPES = { [''] = '' }

-- A join with more would make each message that begins like it dear for everybody.
local MOST_WORDS = 64 -- in a topic pattern, or an address
local MOST_HEADERS = 32 -- that a join matches by

feed_types['fanout'] = {
  join_types = JOIN_TYPES,
  join = function(index, pipe, join)
    place_enter(index, '', pipe, join.serial)
  end,
  unjoin = function(index, pipe)
    place_leave(index, '', pipe)
  end,
  match = function()
    return { '' }
  end,
}

-- As the feeds of 3/Defaults, which every server has, but publishers are told no numbers.
local exact = feed_types['']
feed_types['direct'] = {
  join_types = JOIN_TYPES, join = exact.join, unjoin = exact.unjoin, match = exact.match,
}

-- Topics. An address is words between dots, the empty address has none. In a
-- pattern `*` is any one word and `#` any number of them (AMQP 0-9-1, 3.1.3.3).
-- The index's tree has the patterns' beginnings: each word with a dot before it.

local function topic_words(text)
  local list = {}
  if text ~= '' then
    for word in string.gmatch(text .. '.', '([^.]*)%.') do
      list[#list + 1] = word
    end
  end
  return list
end

-- The beginnings of a pattern, the whole of it last. A run of wildcards means
-- the same in any order: its `*` come first and one `#` stands for all. So no
-- two beginnings mean the same, and matching has few ways to follow.
local function topic_nodes(pattern)
  local nodes, node, many = {}, '', false
  local function add(word)
    node = node .. '.' .. word
    nodes[#nodes + 1] = node
  end
  for _, word in ipairs(topic_words(pattern)) do
    if word == '#' then
      many = true
    else
      if many and word ~= '*' then
        add('#')
        many = false
      end
      add(word)
    end
  end
  if many then
    add('#')
  end
  return nodes
end

local function is_many(node)
  return string.sub(node, -2) == '.#'
end

feed_types['topic'] = {
  join_types = JOIN_TYPES,
  check = function(join)
    return #topic_words(join.address) <= MOST_WORDS
  end,
  accepts = function(message)
    return #topic_words(message.address) <= MOST_WORDS
  end,
  join = function(index, pipe, join)
    local nodes = topic_nodes(join.address)
    tree_grow(index, nodes)
    place_enter(index, nodes[#nodes] or '', pipe, join.serial)
  end,
  unjoin = function(index, pipe, join)
    local nodes = topic_nodes(join.address)
    tree_prune(index, nodes)
    place_leave(index, nodes[#nodes] or '', pipe)
  end,
  -- Follows all beginnings that fit the words so far, a word at a time.
  match = function(index, message)
    local fitting, known = { '' }, {}
    local function reach(node)
      if not known[node] then
        known[node] = true
        fitting[#fitting + 1] = node
      end
    end
    for _, word in ipairs(topic_words(message.address)) do
      local before = fitting
      fitting, known = {}, {}
      local i, from = 1, {}
      for _, node in ipairs(before) do
        from[node] = true
      end
      while before[i] do -- it grows: `#` fits no word as well
        local node = before[i]
        if is_many(node) then
          reach(node)
        end
        local ahead = { node .. '.' .. word, node .. '.*', node .. '.#' }
        local there = tree_has(index, ahead)
        if there[1] then
          reach(ahead[1])
        end
        if there[2] then
          reach(ahead[2])
        end
        if there[3] and not from[ahead[3]] then
          before[#before + 1] = ahead[3]
          from[ahead[3]] = true
        end
        i = i + 1
      end
    end
    local ends = {}
    for _, node in ipairs(fitting) do
      ends[#ends + 1] = node .. '.#'
    end
    for i, there in ipairs(tree_has(index, ends)) do
      if there then
        reach(ends[i])
      end
    end
    return fitting
  end,
}

-- Headers. `match` is how a join matches, `all` or `any`, and a digest of each
-- header (of name and value together), sorted; a message has such digests too.
-- A join that wants all its headers stands at the end of their path in the
-- tree, so a message follows the paths that its own headers make; one that
-- wants any of them stands at each.

local function digests(text)
  local list = {}
  for digest in string.gmatch(text, '%x+') do
    list[#list + 1] = digest
  end
  return list
end

local function header_nodes(wanted)
  local nodes, node = {}, ''
  for i, digest in ipairs(wanted) do
    node = redis.sha1hex(node .. digest)
    nodes[i] = node
  end
  return nodes
end

local function header_places(match)
  local mode, rest = string.match(match, '^(%a+)(.*)$')
  local wanted = digests(rest)
  if mode == 'any' then
    return wanted, {}
  end
  local nodes = header_nodes(wanted)
  return { 'all ' .. (nodes[#nodes] or '') }, nodes
end

feed_types['headers'] = {
  join_types = JOIN_TYPES,
  headers = true,
  check = function(join)
    return #digests(string.match(join.match, ' .*$') or '') <= MOST_HEADERS
  end,
  join = function(index, pipe, join)
    local places, nodes = header_places(join.match)
    tree_grow(index, nodes)
    for _, place in ipairs(places) do
      place_enter(index, place, pipe, join.serial)
    end
  end,
  unjoin = function(index, pipe, join)
    local places, nodes = header_places(join.match)
    tree_prune(index, nodes)
    for _, place in ipairs(places) do
      place_leave(index, place, pipe)
    end
  end,
  match = function(index, message)
    local carried = digests(message.headers)
    local places = { 'all ' }
    local function follow(node, from)
      local nodes = {}
      for i = from, #carried do
        nodes[#nodes + 1] = redis.sha1hex(node .. carried[i])
      end
      for i, there in ipairs(tree_has(index, nodes)) do
        if there then
          places[#places + 1] = 'all ' .. nodes[i]
          follow(nodes[i], from + i)
        end
      end
    end
    follow('', 1)
    for _, digest in ipairs(carried) do
      places[#places + 1] = digest
    end
    return places
  end,
}

-- Feeds that queue: each message goes to one join, in turn, or waits for one.

feed_types['rotator'] = { join_types = JOIN_TYPES, queues = true }
feed_types['service'] = { join_types = JOIN_TYPES, queues = true, ends = true } -- with its last join

pipe_types['ondemand'] = { name = 'ondemand', pulls = true } -- takes a message when it is read
