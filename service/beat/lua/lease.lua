#!lua flags=allow-oom
-- Lead, go on leading, or find out who does.
-- KEYS: 1 hash: leader; since when it leads, when it last said so, until when it leads in ms; how late the latest tick is
--   in ms; and for each entry that a leader has taken over, `entry:` and its name to its queue
-- ARGV: 1 who asks, 2 ms for which one leads, 3 how late its latest tick is in ms, 4 whether it wants the entries
-- Returns {1 if it leads, else 0; the time in ms; who leads; 1 if there was a leader in the last day, else 0; the entries}
local DAY = 86400000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, lease = ARGV[1], tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'leader', 'till', 'since')
local leader, till, since = known[1], tonumber(known[2] or 0), known[3]

if leader and leader ~= me and till > now then
  -- An end further away than this was set by a clock that has since gone back.
  if till > now + 2 * lease then
    redis.call('HSET', KEYS[1], 'till', string.format('%.0f', now + lease))
  end
  return { 0, now, leader, 1, {} }
end

local before = leader and 1 or 0
if leader ~= me or till <= now then
  since = string.format('%.0f', now)
end
redis.call('HSET', KEYS[1], 'leader', me, 'since', since, 'renewed', string.format('%.0f', now),
  'till', string.format('%.0f', now + lease), 'late', ARGV[3])
redis.call('PEXPIRE', KEYS[1], DAY)
local entries = {}
if ARGV[4] == '1' then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local name = string.match(all[i], '^entry:(.*)$')
    if name then
      entries[#entries + 1] = name
      entries[#entries + 1] = all[i + 1]
    end
  end
end
return { 1, now, me, before, entries }
