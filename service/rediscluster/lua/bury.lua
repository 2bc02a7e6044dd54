#!lua flags=allow-oom
-- Move messages that are held to the dead ones.
-- ARGV: 1 reason (one word), then leases
-- Returns how many were moved.
if not exists() then
  return NO_QUEUE
end
local now = now_ms()
local count = 0
for i = 2, #ARGV do
  local held = redis.call('HGET', INFLIGHT, ARGV[i])
  if held then
    local _, _, message = parse_held(held)
    bury(parse(message), ARGV[1], now)
    redis.call('HDEL', INFLIGHT, ARGV[i])
    redis.call('ZREM', LEASES, ARGV[i])
    count = count + 1
  end
end
return count
