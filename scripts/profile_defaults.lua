-- 3/Defaults: a feed routes to the joins whose address equals the message's.

feed_types[''] = {
  join_types = { [''] = '' },
  counts = true, -- a publish is answered with the number of joins
  join = function(index, pipe, join)
    place_enter(index, join.address, pipe, join.serial)
  end,
  unjoin = function(index, pipe, join)
    place_leave(index, join.address, pipe)
  end,
  match = function(_, message)
    return { message.address }
  end,
}

pipe_types[''] = { name = '' }
pipe_types['fifo'] = { name = '' } -- draft/3's word for it
pipe_types['stream'] = { name = '' } -- any pipe can be streamed
