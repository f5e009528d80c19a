-- While its slot is moved key by key, a server of a Redis Cluster refuses to touch keys
-- that it does not have, be they moved or new. A script would break off half done:
-- so it asks for a key that never is, and begins only where that is allowed.
if type(redis.pcall('EXISTS', KEYS[1] .. ':moving')) == 'table' then
  return redis.error_reply('TRYAGAIN The slot is being moved.')
end

