#!lua flags=allow-oom
-- Note which entries the leader has taken over, or that it has none of some names.
-- KEYS: 1 as in lease.lua
-- ARGV: 1 who leads, 2 `take` and then name and queue of each, or `forget` and then names
-- Returns 1, or 0 if it does not lead: nothing was noted.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'leader', 'till')
if known[1] ~= ARGV[1] or tonumber(known[2]) <= now then
  return 0
end
if ARGV[2] == 'take' then
  for i = 3, #ARGV, 2 do
    redis.call('HSET', KEYS[1], 'entry:' .. ARGV[i], ARGV[i + 1])
  end
else
  for i = 3, #ARGV do
    redis.call('HDEL', KEYS[1], 'entry:' .. ARGV[i])
  end
end
return 1
