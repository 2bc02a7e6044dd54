-- Forget messages that the fleet has stored, and put aside those that nobody can read.
-- KEYS: 1 owner, 2 taken, 3 unreadable. ARGV: 1 epoch, 2 how many are stored, their identities, those of the unreadable
-- Returns 1. Error SUPERSEDED: another bridge has come.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return redis.error_reply('SUPERSEDED another bridge has come')
end
local stored = tonumber(ARGV[2])
for i = 3, #ARGV do
  if i > 2 + stored then
    local entry = redis.call('HGET', KEYS[2], ARGV[i])
    if entry then
      redis.call('RPUSH', KEYS[3], entry)
    end
  end
  redis.call('HDEL', KEYS[2], ARGV[i])
end
return 1
