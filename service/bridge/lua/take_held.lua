-- Take messages that workers hold and have held for too long; otherwise as take.lua.
-- KEYS: 1 owner, 2 taken, 3 unacked, 4 its index. ARGV: 1 epoch, 2 prefix of new identities,
--       3 Unix time in seconds at or before which they must have been fetched, 4 whether to take those without a time (0, 1),
--       then pairs of delivery tag and label
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return redis.error_reply('SUPERSEDED another bridge has come')
end
local taken = redis.call('HGETALL', KEYS[2])
if #taken > 0 then
  return taken
end
for i = 5, #ARGV, 2 do
  -- Since the bridge looked, it may have been acknowledged, or returned and fetched again.
  local value, since = redis.call('HGET', KEYS[3], ARGV[i]), redis.call('ZSCORE', KEYS[4], ARGV[i])
  local due
  if since then
    due = tonumber(since) <= tonumber(ARGV[3])
  else
    due = ARGV[4] == '1'
  end
  if value and due then
    local id, entry = ARGV[2] .. string.format('%06d', (i - 3) / 2), ARGV[i + 1] .. '\n' .. value
    redis.call('HSET', KEYS[2], id, entry)
    redis.call('HDEL', KEYS[3], ARGV[i])
    redis.call('ZREM', KEYS[4], ARGV[i])
    taken[#taken + 1] = id
    taken[#taken + 1] = entry
  end
end
return taken
