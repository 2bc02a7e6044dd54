#!lua flags=allow-oom
-- Prolong leases, and do what is due meanwhile.
-- ARGV: 1 wake key, 2 lease in ms, 3 delivery limit, then leases
-- Returns the leases that nobody holds any more: lost to somebody else, or settled.
if not exists() then
  return NO_QUEUE
end
local now = now_ms()
local lease = tonumber(ARGV[2])
local lost = {}
for i = 4, #ARGV do
  if redis.call('ZSCORE', LEASES, ARGV[i]) then
    redis.call('ZADD', LEASES, 'XX', now + lease, ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
local left = absorb(ARGV[1])
promote(now, 100)
recover(now, lease, tonumber(ARGV[3]))
if ready_count() + left > 0 then
  wake(ARGV[1])
end
return lost
