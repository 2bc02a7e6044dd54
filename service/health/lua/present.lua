#!lua flags=allow-oom
-- A worker says that it is there; whoever has not said so for long is forgotten.
-- KEYS: 1 hash of worker to "time in ms, active tasks"
-- ARGV: 1 worker, 2 its active tasks, or -1 when it leaves, 3 ms after which one is forgotten
-- Returns how many workers there are, and their active tasks.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local keep = tonumber(ARGV[3])
if tonumber(ARGV[2]) >= 0 then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %d', now, ARGV[2]))
  redis.call('PEXPIRE', KEYS[1], keep)
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
local all = redis.call('HGETALL', KEYS[1])
local workers, active = 0, 0
for i = 1, #all, 2 do
  local at, tasks = string.match(all[i + 1], '^(%d+) (%d+)$')
  if now - at > keep then
    redis.call('HDEL', KEYS[1], all[i])
  else
    workers = workers + 1
    active = active + tasks
  end
end
return {workers, active}
