-- What wrk is to send. Arguments: the file of requests, the file of names, both
-- as load.py writes them.
-- With names, each thread has one connection and its own name. It goes through the
-- requests in turn, and counts the turns from 1.
local count = 0

function setup(thread)
  count = count + 1
  thread:set('number', count)
end

local function read(path)
  local file = assert(io.open(path, 'rb'))
  local text = file:read('*a')
  file:close()
  return text
end

-- A request's pieces: those between its marks for the turn.
local function pieces(text)
  local found, from = {}, 1
  while true do
    local at, after = text:find('@TURN@', from, true)
    if not at then break end
    found[#found + 1] = text:sub(from, at - 1)
    from = after + 1
  end
  found[#found + 1] = text:sub(from)
  return found
end

local requests, place, turn = {}, 0, 1

function init(args)
  local name = ''
  local line = 0
  for each in read(args[2]):gmatch('[^\n]+') do
    line = line + 1
    if line == number then name = each end
  end
  local text, from = read(args[1]), 1
  while from <= #text do
    local size, at = text:match('^(%d+)\n()', from)
    local raw = text:sub(at, at + size - 1):gsub('@NAME@', name)
    requests[#requests + 1] = pieces(raw)
    from = at + size
  end
end

function request()
  place = place + 1
  if place > #requests then
    place, turn = 1, turn + 1
  end
  local parts = requests[place]
  if #parts == 1 then return parts[1] end
  return table.concat(parts, turn)
end

function done(summary)
  local errors = summary.errors
  io.write(('\ndone %d %d %d %d\n'):format(
    summary.requests, summary.duration,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
