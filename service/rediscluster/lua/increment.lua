#!lua
-- Add to a counter, once for each call, however often the call is repeated.
-- KEYS: 1 the counter
-- ARGV: 1 how much, 2 ms for which the call is remembered, 3 mark of the call; not declared, since it is not there, and
--       a migrating slot would answer TRYAGAIN. Where it cannot be left there, a repeated call counts again.
-- Returns the counter.
local marked = redis.pcall('SET', ARGV[3], '1', 'NX', 'PX', ARGV[2])
if marked then
  return redis.call('INCRBY', KEYS[1], ARGV[1])
end
return tonumber(redis.call('GET', KEYS[1]) or 0)
