#!lua
-- Store a message, once for each (lane, number).
-- ARGV: 1 wake key, 2 lane of the producer, 3 number in the lane, 4 priority 0-10, 5 due time in ms (0: now),
--       6 dedupe window in ms, 0 for a lane that is never forgotten, 7 the message as it is stored
--       8 (optional) '1': store nothing while messages are left in the inbox
-- Returns 2, or 1 if the queue is temporary; 0 when this publish had already been stored; -1 when nothing was stored
-- because of ARGV[8]: ask again. Error NOQUEUE: declare the queue first.
-- Not allowed in a full memory: the producer gets OOM and nothing is stored.
--
-- Most messages come by the inbox, for a fraction of the time: this is for those that are due later, that are large, and
-- for the first one that a producer sends to a queue.
if not exists() then
  return NO_QUEUE
end
if absorb(ARGV[1]) > 0 and ARGV[8] then
  return -1
end
local now, window = now_ms(), tonumber(ARGV[6])
local field, number = 'lane:' .. ARGV[2], tonumber(ARGV[3])
local known = redis.call('HMGET', META, field, 'sequence', 'window')
local last, noted = lane_of(known[1])
if number <= last then
  -- Written again, so that whoever asks for the replicas' confirmation gets that of this message.
  redis.call('HSET', META, field, known[1])
  return 0
end
if window > 0 then
  if now - noted > window / 4 then
    noted = now
    note_lane(ARGV[2], now, window)
  end
  if known[3] ~= ARGV[6] then
    redis.call('HSET', META, 'window', ARGV[6])
  end
end
local lane = string.format('%.0f %.0f', number, noted)

if tonumber(ARGV[5]) > now then
  redis.call('HSET', META, field, lane)
  redis.call('HINCRBY', META, 'postponed', 1)
  redis.call('ZADD', DELAYED, ARGV[5], ARGV[7])
  if redis.call('ZRANGE', DELAYED, 0, 0)[1] == ARGV[7] then
    wake(ARGV[1])
  end
else
  local sequence = (known[2] or 0) + 1
  redis.call('HSET', META, field, lane, 'sequence', sequence)
  redis.call('ZADD', READY, (10 - ARGV[4]) * PRIORITY_STEP + sequence, ARGV[7])
  wake(ARGV[1])
end
return redis.call('PTTL', META) < 0 and 2 or 1
