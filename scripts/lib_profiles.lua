-- Types of feeds and pipes, which the profiles add. A profile's Lua is run when a
-- type is asked for that those before it do not have: most feeds are of the first.

local function profiles_ask(types, name)
  while profiles[1] do
    table.remove(profiles, 1)()
    local found = rawget(types, name)
    if found then
      return found
    end
  end
  return nil
end

setmetatable(feed_types, { __index = profiles_ask })
setmetatable(pipe_types, { __index = profiles_ask })
