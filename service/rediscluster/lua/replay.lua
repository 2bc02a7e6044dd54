#!lua
-- Publish a message that had died, once for each entry of a dead list.
-- ARGV: 1 wake key, 2 names the entry, 3 ms for which it is remembered, 4 message id, 5 priority 0-10, 6 payload
-- Returns 1, or 0 when it had been published before. Error NOQUEUE: declare the queue first.
-- Not allowed in a full memory: nothing is published then.
--
-- It is remembered as a producer's lane is; those are forgotten by age, so this one is dated into the future.
if not exists() then
  return NO_QUEUE
end
absorb(ARGV[1])
local now, lane = now_ms(), 'dead-' .. ARGV[2]
local forgotten_at = string.format('%.0f', now + tonumber(ARGV[3]))
local published = redis.call('HEXISTS', META, 'lane:' .. lane) == 1
-- Written again, so that whoever asks for the replicas' confirmation gets that of this message.
redis.call('HSET', META, 'lane:' .. lane, '1 ' .. forgotten_at)
redis.call('ZADD', LANES, forgotten_at, lane)
if published then
  return 0
end
make_ready({ id = ARGV[4], priority = tonumber(ARGV[5]), ready = now, losses = 0, returns = 0, payload = ARGV[6] })
wake(ARGV[1])
return 1
