#!lua flags=allow-oom
-- Before a task that is to complete once runs: is it done, and do we still hold its message?
-- KEYS: those of every script, 9 completed, 10 completions
-- ARGV: 1 lease, 2 task id
-- Returns {1 if the lease holds, else 0; what the completed run returned, or nil}
if not exists() then
  return NO_QUEUE
end
return { redis.call('HEXISTS', INFLIGHT, ARGV[1]), redis.call('HGET', KEYS[9], ARGV[2]) }
