#!lua flags=allow-oom
-- One round of a consumer: acknowledge, promote, recover, and lease up to N messages in order.
-- ARGV: 1 wake key, 2 session, 3 lease in ms, 4 delivery limit, 5 how many messages at most (0: only acknowledge;
--       -1: and leave messages and clock to others), 6 number of the first lease,
--       7 attempt (above 0: an earlier one may have been executed), then triples of acks: lease, score, message id
-- Returns {ms until something is due or expires (-1: nothing to watch), how many are still ready,
--          {lease number, score, message, …}}
if not exists() then
  return NO_QUEUE
end
local now = now_ms()
local session, lease, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local wanted, first, attempt = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

local acked = 0
for i = 8, #ARGV, 3 do
  if redis.call('HDEL', INFLIGHT, ARGV[i]) == 1 then
    redis.call('ZREM', LEASES, ARGV[i])
    acked = acked + 1
  else
    -- The lease was lost: the work is done all the same, so a copy that nobody has taken yet must not run again.
    local copy = unheld_copy(ARGV[i + 1], ARGV[i + 2])
    if copy then
      redis.call('ZREM', READY, copy)
      acked = acked + 1
    end
  end
end
if acked > 0 then
  redis.call('HINCRBY', META, 'acked', acked)
end

-- What is left there may be more urgent than anything that is ready.
local left = absorb(ARGV[1])
promote(now, 100 + math.max(wanted, 0))
recover(now, lease, limit)

local leased = {}
if attempt > 0 then
  -- The reply of an earlier attempt was lost: hand out again what it leased.
  for number = first, first + wanted - 1 do
    local held = redis.call('HGET', INFLIGHT, session .. ':' .. number)
    if held then
      local score, _, message = parse_held(held)
      leased[#leased + 1] = number
      leased[#leased + 1] = score
      leased[#leased + 1] = message
    end
  end
end
-- A lease number that is taken belongs to a later attempt that overtook this one.
if #leased == 0 and wanted > 0 and left == 0 and redis.call('HEXISTS', INFLIGHT, session .. ':' .. first) == 0 then
  local taken = math.min(wanted, ready_count())
  if taken > 0 then
    local since = string.format(' %.0f ', now)
    local messages = redis.call('ZRANGE', READY, 0, taken - 1, 'WITHSCORES')
    for i = 1, #messages, 2 do
      local number = first + (i - 1) / 2
      local name = session .. ':' .. string.format('%.0f', number)
      local score = string.format('%.0f', tonumber(messages[i + 1]))
      redis.call('HSET', INFLIGHT, name, score .. since .. messages[i])
      redis.call('ZADD', LEASES, now + lease, name)
      leased[#leased + 1] = number
      leased[#leased + 1] = score
      leased[#leased + 1] = messages[i]
    end
    redis.call('ZREMRANGEBYRANK', READY, 0, taken - 1)
  end
end

local rest = ready_count() + left
if rest > 0 then
  wake(ARGV[1])
end

-- One consumer watches the clock for all: whoever has credit left, and so is going to block, and asks first for the
-- earliest moment. One that will not block any more hands it on.
local due, expiry = lowest(DELAYED), lowest(LEASES)
local at = math.min(due or math.huge, expiry or math.huge)
local watcher, watches_until = string.match(redis.call('HGET', META, 'watcher') or '', '^(.*) (%d+)$')
local pause = -1
if wanted > 0 and #leased / 3 < wanted then
  if at < math.huge and (not watcher or watcher == session or at < tonumber(watches_until)
      or tonumber(watches_until) < now) then
    redis.call('HSET', META, 'watcher', session .. ' ' .. string.format('%.0f', at))
    pause = math.max(at - now, 1)
  end
elseif wanted ~= 0 and watcher == session then
  redis.call('HDEL', META, 'watcher')
  wake(ARGV[1])
end
return { pause, rest, leased }
