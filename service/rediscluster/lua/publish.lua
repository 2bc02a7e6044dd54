#!lua
-- Store a message, once for each (lane, number).
-- ARGV: 1 wake key, 2 lane of the producer, 3 number in the lane, 4 message id, 5 priority 0-10, 6 due time in ms (0: now),
--       7 dedupe window in ms, 8 payload
-- Returns 1, or 0 when this publish had already been stored. Error NOQUEUE: declare the queue first.
-- Not allowed in a full memory: the producer gets OOM and nothing is stored.
--
-- Every write goes to the replicas as a command of its own, so the common case has two: what lanes and sequence need is
-- one HSET, a lane's age is noted only four times in a window, and `published` is counted by the sequence.
if not exists() then
  return NO_QUEUE
end
local now, window = now_ms(), tonumber(ARGV[7])
local field, number = 'lane:' .. ARGV[2], tonumber(ARGV[3])
local known = redis.call('HMGET', META, field, 'sequence')
local last, noted = string.match(known[1] or '', '^(%d+) (%d+)$')
if last and number <= tonumber(last) then
  -- Written again, so that whoever asks for the replicas' confirmation gets that of this message.
  redis.call('HSET', META, field, known[1])
  return 0
end
noted = tonumber(noted)
if not noted or now - noted > window / 4 then
  noted = now
  redis.call('ZADD', LANES, now, ARGV[2])
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', LANES, '-inf', now - window * 1.25, 'LIMIT', 0, 3)) do
    redis.call('ZREM', LANES, old)
    redis.call('HDEL', META, 'lane:' .. old)
  end
end
local lane = ARGV[3] .. ' ' .. string.format('%.0f', noted)

local priority, due = tonumber(ARGV[5]), tonumber(ARGV[6])
if due > now then
  redis.call('HSET', META, field, lane)
  redis.call('HINCRBY', META, 'postponed', 1)
  local message = format({ id = ARGV[4], priority = priority, ready = due, losses = 0, returns = 0, payload = ARGV[8] })
  redis.call('ZADD', DELAYED, due, message)
  if redis.call('ZRANGE', DELAYED, 0, 0)[1] == message then
    wake(ARGV[1])
  end
  return 1
end
local sequence = (known[2] or 0) + 1
redis.call('HSET', META, field, lane, 'sequence', string.format('%.0f', sequence))
local message = ARGV[4] .. ':' .. ARGV[5] .. ':' .. string.format('%.0f', now) .. ':0:0:' .. ARGV[8]
redis.call('ZADD', READY, (10 - priority) * PRIORITY_STEP + sequence, message)
wake(ARGV[1])
return 1
