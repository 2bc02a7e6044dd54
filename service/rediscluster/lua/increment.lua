#!lua
-- Add to a counter, once for each call, however often the call is repeated.
-- KEYS: 1 the counter, 2 mark of the call
-- ARGV: 1 how much, 2 ms for which the call is remembered
-- Returns the counter.
if redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[2]) then
  return redis.call('INCRBY', KEYS[1], ARGV[1])
end
return tonumber(redis.call('GET', KEYS[1]) or 0)
