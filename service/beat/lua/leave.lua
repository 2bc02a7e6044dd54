#!lua flags=allow-oom
-- Lead no longer, so that somebody else can at once.
-- KEYS: 1 as in lease.lua
-- ARGV: 1 who leaves
-- Returns 1, or 0 if it did not lead.
if redis.call('HGET', KEYS[1], 'leader') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'till', '0')
return 1
