-- 3/Defaults: a feed routes to the joins whose address equals the message's.

feed_types[''] = {
  join_types = { [''] = '' },
  headers = false,
  join = function(index, pipe, join)
    redis.call('ZADD', index .. ':at:' .. join.address, join.serial, pipe)
  end,
  unjoin = function(index, pipe, join)
    redis.call('ZREM', index .. ':at:' .. join.address, pipe)
  end,
  match = function(index, message)
    return redis.call('ZRANGE', index .. ':at:' .. message.address, 0, -1)
  end,
}

pipe_types[''] = ''
pipe_types['fifo'] = '' -- draft/3's word for it
