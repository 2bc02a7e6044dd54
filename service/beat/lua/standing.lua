#!lua flags=no-writes
-- How the leader is.
-- KEYS: 1 as in lease.lua
-- Returns {who leads or led last, 1 if it still does, ms since it last said so, ms since it leads, ms by which the latest
--   tick was late then}, or nothing if nobody has led for a day
local known = redis.call('HMGET', KEYS[1], 'leader', 'till', 'renewed', 'since', 'late')
if not known[1] then
  return {}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {
  known[1], tonumber(known[2]) > now and 1 or 0, math.max(0, now - known[3]), math.max(0, now - known[4]),
  tonumber(known[5]),
}
