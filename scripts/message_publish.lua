#!lua
-- Publish: route the messages of a request, all of them, in order, or none. One
-- call takes the requests of several publishers, one after the other; what is
-- refused to one does not touch the next. `apart`: it is to be asked again, alone.
-- Everything of a request is checked before its first write, for Redis does not
-- roll back.
local domain = KEYS[1]
local bounds = ARGV[1]
local deliveries = ARGV[2]
local quota = ARGV[3]
local calls = 4 -- ARGV from here on, of each call: feed, nonce, once, keep, runs

--@ include profiles lib_messaging lib_once lib_quota lib_publish

local replies = {}
local at = calls
while at <= #ARGV do
  replies[#replies + 1] = answered(publish,
    ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], at + 5, at + 4 + ARGV[at + 4])
  at = at + 5 + ARGV[at + 4]
  if replies[#replies][1] == 'broken' then
    calls_forget(domain)
  end
  if letters[1] or next(stirred) then
    settle_and_ring(domain) -- what the next request finds is what it would find alone
  end
end
settle_and_ring(domain)
return replies
