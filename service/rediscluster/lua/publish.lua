#!lua
-- Store a message, once for each (lane, number).
-- ARGV: 1 wake key, 2 lane of the producer, 3 number in the lane, 4 message id, 5 priority 0-10, 6 due time in ms (0: now),
--       7 dedupe window in ms, 8 payload
-- Returns 1, or 0 when this publish had already been stored. Error NOQUEUE: declare the queue first.
-- Not allowed in a full memory: the producer gets OOM and nothing is stored.
if not exists() then
  return NO_QUEUE
end
local now = now_ms()
local lane, number = ARGV[2], tonumber(ARGV[3])
local last = redis.call('HGET', META, 'lane:' .. lane)
if last and number <= tonumber(last) then
  -- Written again, so that whoever asks for the replicas' confirmation gets that of this message.
  redis.call('HSET', META, 'lane:' .. lane, last)
  return 0
end
redis.call('HSET', META, 'lane:' .. lane, number)
redis.call('ZADD', LANES, now, lane)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', LANES, '-inf', now - ARGV[7], 'LIMIT', 0, 3)) do
  redis.call('ZREM', LANES, old)
  redis.call('HDEL', META, 'lane:' .. old)
end

local due = tonumber(ARGV[6])
local m = { id = ARGV[4], priority = tonumber(ARGV[5]), ready = now, losses = 0, returns = 0, payload = ARGV[8] }
if due > now then
  m.ready = due
  local message = format(m)
  redis.call('ZADD', DELAYED, due, message)
  if redis.call('ZRANGE', DELAYED, 0, 0)[1] == message then
    wake(ARGV[1])
  end
else
  make_ready(m)
  wake(ARGV[1])
end
redis.call('HINCRBY', META, 'published', 1)
return 1
