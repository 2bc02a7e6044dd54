-- Become the bridge that moves this broker: those that came before are refused from now on.
-- KEYS: 1 owner. ARGV: 1 now in ms, 2 a name for this broker, if it has none yet
-- Returns {name of the broker, epoch of this bridge}
redis.call('HSETNX', KEYS[1], 'id', ARGV[2])
local last = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0)
local epoch = string.format('%.0f', math.max(last + 1, tonumber(ARGV[1])))
redis.call('HSET', KEYS[1], 'epoch', epoch)
return { redis.call('HGET', KEYS[1], 'id'), epoch }
