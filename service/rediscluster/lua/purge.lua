#!lua flags=allow-oom
-- Remove every message that nobody holds: ready and delayed. What is held stays with its holder, the dead stay.
-- Returns how many were removed.
if not exists() then
  return 0
end
-- The sentinel, with score +inf, is the last member.
return redis.call('ZREMRANGEBYRANK', READY, 0, -2) + redis.call('ZREMRANGEBYRANK', DELAYED, 0, -2)
