#!lua flags=no-writes
-- Count without disturbing.
-- Returns {exists, delayed, due, leased, dead, now in ms, ready time in ms of the oldest ready message (0: none),
--          counters {name, value, …}, ready by priority 0-10 {…}}
if not exists() then
  return { 0, 0, 0, 0, 0, now_ms(), 0, {}, {} }
end
local now = now_ms()
local due = redis.call('ZCOUNT', DELAYED, '-inf', now)
local ready = {}
local oldest = 0
for priority = 0, 10 do
  local low = (10 - priority) * PRIORITY_STEP
  local high = '(' .. string.format('%.0f', low + PRIORITY_STEP)
  ready[priority + 1] = redis.call('ZCOUNT', READY, low, high)
  local first = redis.call('ZRANGEBYSCORE', READY, low, high, 'LIMIT', 0, 1)[1]
  if first then
    local since = parse(first).ready
    if oldest == 0 or since < oldest then
      oldest = since
    end
  end
end
local first_due = lowest(DELAYED)
if due > 0 and (oldest == 0 or first_due < oldest) then
  oldest = first_due
end
local function counter(name)
  return tonumber(redis.call('HGET', META, name) or 0)
end
-- The sequence counts what became ready: published so, or due later.
local counters = { 'published', counter('sequence') - counter('promoted') + counter('postponed') }
for _, name in ipairs({ 'acked', 'returned', 'recovered', 'buried' }) do
  counters[#counters + 1] = name
  counters[#counters + 1] = counter(name)
end
return {
  1, redis.call('ZCARD', DELAYED) - 1, due, redis.call('ZCARD', LEASES) - 1, redis.call('ZCARD', DEAD) - 1,
  now, oldest, counters, ready,
}
