#!lua
-- Store a result and tell whoever waits for it, on a channel of the same name in the same slot.
-- KEYS: 1 result. ARGV: 1 value, 2 seconds until it expires (0: never), 3 (optional) only if this is its value now ('': none)
-- Returns 1, or 0 when it has another value.
if ARGV[3] and (redis.call('GET', KEYS[1]) or '') ~= ARGV[3] then
  return 0
end
if tonumber(ARGV[2]) > 0 then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[1])
end
redis.call('SPUBLISH', KEYS[1], ARGV[1])
return 1
