-- What becomes of messages that no request is told of is counted in the domain's hash, until the
-- sweep tells it to one node. It is written when a transition ends, once for all that it did.

local tally = {}

local function tell(what, many)
  tally[what] = (tally[what] or 0) + many
end

local function tally_write(domain)
  for what, many in pairs(tally) do
    redis.call('HINCRBY', domain, what, digits(many))
  end
  tally = {}
end
