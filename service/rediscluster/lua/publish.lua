#!lua
-- Store a message, once for each (lane, number).
-- ARGV: 1 wake key, 2 lane of the producer, 3 number in the lane, 4 priority 0-10, 5 due time in ms (0: now),
--       6 dedupe window in ms, 7 the message as it is stored
-- Returns 1, or 0 when this publish had already been stored. Error NOQUEUE: declare the queue first.
-- Not allowed in a full memory: the producer gets OOM and nothing is stored.
--
-- Every write goes to the replicas as a command of its own, so the common case has two: what lanes and sequence need is
-- one HSET, a lane's age is noted only four times in a window, and `published` is counted by the sequence.
if not exists() then
  return NO_QUEUE
end
local now, window = now_ms(), tonumber(ARGV[6])
local field, number = 'lane:' .. ARGV[2], tonumber(ARGV[3])
local known = redis.call('HMGET', META, field, 'sequence')
local last, noted = string.match(known[1] or '', '^(%d+) (%d+)$')
if last and number <= tonumber(last) then
  -- Written again, so that whoever asks for the replicas' confirmation gets that of this message.
  redis.call('HSET', META, field, known[1])
  return 0
end
if not noted or now - noted > window / 4 then
  noted = string.format('%.0f', now)
  redis.call('ZADD', LANES, noted, ARGV[2])
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', LANES, '-inf', now - window * 1.25, 'LIMIT', 0, 3)) do
    redis.call('ZREM', LANES, old)
    redis.call('HDEL', META, 'lane:' .. old)
  end
end

if tonumber(ARGV[5]) > now then
  redis.call('HSET', META, field, ARGV[3] .. ' ' .. noted)
  redis.call('HINCRBY', META, 'postponed', 1)
  redis.call('ZADD', DELAYED, ARGV[5], ARGV[7])
  if redis.call('ZRANGE', DELAYED, 0, 0)[1] == ARGV[7] then
    wake(ARGV[1])
  end
else
  local sequence = (known[2] or 0) + 1
  redis.call('HSET', META, field, ARGV[3] .. ' ' .. noted, 'sequence', sequence)
  redis.call('ZADD', READY, (10 - ARGV[4]) * PRIORITY_STEP + sequence, ARGV[7])
  wake(ARGV[1])
end
return 1
