#!lua flags=allow-oom
-- Record that a task is done, unless it was before or somebody else holds its message.
-- KEYS: those of every script, 9 completed, 10 completions
-- ARGV: 1 lease, 2 score and 3 id of the message, 4 task id, 5 how long to remember it in ms, 6 what it returned
-- Returns {1 if the message is ours (or nobody's, and the task is done now), else 0; what the run returned that had completed it before, or nil}
if not exists() then
  return NO_QUEUE
end
local lease, score, message_id, task_id, window, value = unpack(ARGV)
local completed, completions = KEYS[9], KEYS[10]

local held = redis.call('HEXISTS', INFLIGHT, lease)
local earlier = redis.call('HGET', completed, task_id)
if earlier then
  -- Written again, so that whoever asks for the replicas' confirmation gets that of this record.
  redis.call('HSET', completed, task_id, earlier)
  return { held, earlier }
end
-- A copy that came back and that nobody has taken is cancelled by our ack.
if held == 0 and not unheld_copy(score, message_id) then
  return { 0, false }
end
local now = now_ms()
redis.call('HSET', completed, task_id, value)
redis.call('ZADD', completions, now, task_id)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', completions, '-inf', now - window, 'LIMIT', 0, 3)) do
  redis.call('ZREM', completions, old)
  redis.call('HDEL', completed, old)
end
return { 1, false }
