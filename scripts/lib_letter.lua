-- Dead letters: messages that nobody got, on their way to the dead-letter feed of
-- their feed. They are written while a transition does what it does, and posted
-- when that is done.

local letters = {}

-- Write one, if the feed has a dead-letter feed; whether it has.
local function letter_write(domain, record, message, reason, times)
  if record.dead_letter == '' then
    return false
  end
  if message.body then
    body_hold(domain, message.body, 1)
  end
  letters[#letters + 1] = {
    feed = record.dead_letter, message = message, reason = reason, from = record.key, times = times or 1,
  }
  return true
end
