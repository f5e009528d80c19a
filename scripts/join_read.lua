#!lua flags=allow-oom
-- A join's description. Reading it is a use of its pipe.
local domain = KEYS[1]
local join = ARGV[1]
local idle = ARGV[2]

--@ include profiles lib_state lib_body lib_pipe lib_join

local record = join_live(domain, join)
if not record then
  return { 'missing' }
end
pipe_touch(domain, record.pipe, tonumber(idle))
return { 'ok', join_reply(join, record) }
