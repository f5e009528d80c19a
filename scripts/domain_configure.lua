#!lua flags=allow-oom
-- Make a domain and its feeds as the configuration says. Running it again changes nothing.
local domain = KEYS[1]
local title = ARGV[1]
local feeds = 2 -- ARGV from here on: name, type, title, license of each feed

--@ include profiles lib_state lib_feed

for i = feeds, #ARGV, 4 do
  local present = feed_get(domain, ARGV[i])
  if present and present.type ~= ARGV[i + 1] then
    return { 'type_differs', ARGV[i], present.type }
  end
  if not feed_types[ARGV[i + 1]] then
    return { 'unknown_type', ARGV[i], ARGV[i + 1] }
  end
end

if redis.call('HGET', domain, 'title') ~= title then
  redis.call('HSET', domain, 'title', title)
  domain_changed(domain)
end
for i = feeds, #ARGV, 4 do
  local name = ARGV[i]
  local present = feed_get(domain, name)
  if not present then
    feed_add(domain, name, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], '1')
  elseif present.title ~= ARGV[i + 2] or present.license ~= ARGV[i + 3] or present.configured ~= '1' then
    redis.call('HSET', domain .. ':feed:' .. name, 'title', ARGV[i + 2], 'license', ARGV[i + 3],
      'configured', '1', 'version', next_version(present.version))
    domain_changed(domain)
    ring(domain .. ':feed:' .. name)
  end
end
return { 'ok' }
