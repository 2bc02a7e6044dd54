#!lua flags=allow-oom
-- One step of a circuit breaker.
-- KEYS: 1 hash of breaker to "state since failures opened refused touched", the times in ms
-- ARGV: 1 step: enter, succeeded or failed; 2 breaker; 3 failures that open it; 4 ms for which it stays open, and for
--   which a probe may take; 5 ms after which somebody else may look whether a probe is over; 6 for succeeded and failed:
--   the `since` that entering returned; a call from before the last change says nothing about the state after it;
--   7 ms for which a breaker is remembered that nothing is stored about
-- Returns state (`probe` for the one call that may try), since, failures, ms until it is worth another attempt.
local TIDY_EVERY = 3600000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local step, name, limit, open_for, look_again = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local memory = tonumber(ARGV[7])

local function is_old(value)
  return now - tonumber(string.match(value, '(%d+)$')) > memory
end

local state, since, failures, opened, refused = 'closed', 0, 0, 0, 0
local stored = redis.call('HGET', KEYS[1], name)
if stored and not is_old(stored) then
  state, since, failures, opened, refused = string.match(stored, '^(%S+) (%d+) (%d+) (%d+) (%d+)')
  since, failures, opened, refused = tonumber(since), tonumber(failures), tonumber(opened), tonumber(refused)
end

local function forget_old_ones()
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if is_old(all[i + 1]) then
      redis.call('HDEL', KEYS[1], all[i])
    end
  end
end

local function store()
  local value = string.format('%s %.0f %d %d %d %.0f', state, since, failures, opened, refused, now)
  redis.call('HSET', KEYS[1], name, value)
  -- The whole hash is looked through now and then: what is left of its own time tells when it was last.
  if redis.call('PTTL', KEYS[1]) < memory then
    forget_old_ones()
    redis.call('PEXPIRE', KEYS[1], memory + TIDY_EVERY)
  end
end

local function change(to)
  state = to
  since = math.max(now, since + 1)
end

if step == 'enter' then
  if state == 'closed' then
    return {state, since, failures, 0}
  end
  local left = since + open_for - now
  if left > 0 then
    refused = refused + 1
    store()
    -- What a probe finds out is known soon.
    return {state, since, failures, state == 'open' and left or math.min(left, look_again)}
  end
  -- Its time is over, or whoever probed has not come back.
  change('half-open')
  store()
  return {'probe', since, failures, 0}
end

if since ~= tonumber(ARGV[6]) then
  return {'changed', since, failures, 0}
end
if step == 'succeeded' then
  failures = 0
  if state ~= 'closed' then
    change('closed')
  end
  store()
else
  failures = failures + 1
  if state ~= 'closed' or failures >= limit then
    change('open')
    opened = opened + 1
  end
  store()
end
return {state, since, failures, 0}
