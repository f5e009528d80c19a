#!lua flags=allow-oom
-- Make a domain and its feeds as the configuration says. Running it again changes nothing.
local domain = KEYS[1]
local title = ARGV[1]
local feeds = 2 -- ARGV from here on: name, type, title, license, dead_letter, dedup of each feed

--@ include profiles lib_state lib_feed

local FIELDS = { 'title', 'license', 'dead_letter', 'dedup' }
local wanted = {}
for i = feeds, #ARGV, 6 do
  local record = {
    key = ARGV[i], type = ARGV[i + 1], title = ARGV[i + 2], license = ARGV[i + 3],
    dead_letter = ARGV[i + 4], dedup = ARGV[i + 5], configured = '1',
  }
  local present = feed_get(domain, record.key)
  if present and present.type ~= record.type then
    return { 'type_differs', record.key, present.type }
  end
  if not feed_types[record.type] then
    return { 'unknown_type', record.key, record.type }
  end
  wanted[#wanted + 1] = record
end

if redis.call('HGET', domain, 'title') ~= title then
  redis.call('HSET', domain, 'title', title)
  domain_changed(domain)
end
for _, record in ipairs(wanted) do
  local present = feed_get(domain, record.key)
  if not present then
    feed_add(domain, record)
  else
    local changed = present.configured ~= '1'
    for _, field in ipairs(FIELDS) do
      changed = changed or present[field] ~= record[field]
      present[field] = record[field]
    end
    if changed then
      present.configured = '1'
      feed_change(domain, present)
    end
  end
end
return { 'ok' }
