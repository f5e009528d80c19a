-- A feed routes to the joins whose address is how the message's begins.
feed_types['prefix'] = {
  join_types = { [''] = '' },
  counts = true,
  join = function(index, pipe, join)
    place_enter(index, join.address, pipe, join.serial)
  end,
  unjoin = function(index, pipe, join)
    place_leave(index, join.address, pipe)
  end,
  match = function(_, message)
    local places = {}
    for length = 0, #message.address do
      places[length + 1] = string.sub(message.address, 1, length)
    end
    return places
  end,
}

-- A feed that shares out its messages, as a rotator does, but never goes.
feed_types['shared'] = { join_types = { [''] = '' }, queues = true }
