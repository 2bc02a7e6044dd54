#!lua flags=allow-oom
-- Put a message on the dead list that nobody holds any more: it was acknowledged before its task failed.
-- ARGV: 1 reason and message, as the list keeps them
-- Returns 1, or 0 when it was there.
if not exists() then
  return NO_QUEUE
end
local new = redis.call('ZADD', DEAD, now_ms(), ARGV[1])
if new == 1 then
  redis.call('HINCRBY', META, 'buried', 1)
end
return new
