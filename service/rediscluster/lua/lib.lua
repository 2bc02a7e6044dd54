-- Shared by all scripts.
--
-- KEYS of every script (see keys.py): 1 ready, 2 delayed, 3 inflight, 4 leases, 5 dead, 6 lanes, 7 meta, 8 inbox. A script
-- that needs more of the queue's keys names them behind these.
-- ARGV[1] of every script that can make messages ready is the wake key. It is not declared: it is normally absent, and
-- with one declared key missing a migrating slot answers TRYAGAIN for as long as it stays open.
--
-- No key is ever empty: each sorted set holds a sentinel "" with score +inf, each hash a field "", the inbox begins with
-- an entry "". A script that emptied a key in a migrating slot and then wrote it again would fail half-way.
--
-- A message is stored as "id:priority:ready:losses:returns:payload", `ready` in milliseconds; losses count against the
-- delivery limit, returns are all returns. Its score among the ready ones is (10 - priority) * 2^49 + sequence, so that
-- it regains its place when it is returned. What is in flight is stored as "score since message": since when it is held,
-- in milliseconds.

local READY, DELAYED, INFLIGHT, LEASES, DEAD, LANES, META, INBOX =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local PRIORITY_STEP = 562949953421312 -- 2^49

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- All of them: a queue that was deleted while it was declared has some, and would have lost its sentinels.
local function exists()
  return redis.call('EXISTS', unpack(KEYS)) == #KEYS
end

local NO_QUEUE = { err = 'NOQUEUE the queue does not exist' }

-- Leave one token for an idle consumer; a token that cannot be pushed is lost and nothing more.
local function wake(key)
  if redis.pcall('LLEN', key) == 0 then
    redis.pcall('RPUSH', key, '1')
    local left = redis.call('PTTL', META)
    if left > 0 then
      redis.pcall('PEXPIRE', key, left)
    end
  end
end

-- What the queue remembers of a producer's lane: number of its last publish, and when its use was last noted in LANES.
local function lane_of(stored)
  local last, noted = string.match(stored or '', '^(%d+) (%d+)$')
  return tonumber(last or 0), tonumber(noted or 0)
end

-- Note that a lane is in use, and forget three that have not been for a window and a quarter.
local function note_lane(name, now, window)
  redis.call('ZADD', LANES, now, name)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', LANES, '-inf', now - window * 1.25, 'LIMIT', 0, 3)) do
    redis.call('ZREM', LANES, old)
    redis.call('HDEL', META, 'lane:' .. old)
  end
end

-- Make ready what producers left in the inbox, in order, each publish once; returns how many are still there. Whoever
-- takes a message or gives one a sequence does this first: a lane is forgotten only here and after this.
local function absorb(wake_key)
  local waiting = redis.call('LLEN', INBOX) - 1
  if waiting < 1 then
    return 0
  end
  local count = math.min(waiting, 500)
  local meta = redis.call('HMGET', META, 'sequence', 'window')
  local now, sequence, window = now_ms(), tonumber(meta[1] or 0), tonumber(meta[2] or 120000)
  local lanes, ready = {}, {}
  for _, entry in ipairs(redis.call('LRANGE', INBOX, 1, count)) do
    local name, number, message, priority = string.match(entry, '^(%S+) (%d+) ([^:]*:(%d+):.*)$')
    if name then
      if not lanes[name] then
        lanes[name] = { lane_of(redis.call('HGET', META, 'lane:' .. name)) }
      end
      if tonumber(number) > lanes[name][1] then
        lanes[name][1] = tonumber(number)
        sequence = sequence + 1
        ready[#ready + 1] = (10 - priority) * PRIORITY_STEP + sequence
        ready[#ready + 1] = message
      end
    elseif entry ~= '' then
      redis.call('ZADD', DEAD, now, 'unreadable ' .. entry)
    end
  end
  for i = 1, #ready, 200 do
    redis.call('ZADD', READY, unpack(ready, i, math.min(i + 199, #ready)))
  end
  local fields = { 'sequence', sequence }
  for name, lane in pairs(lanes) do
    if now - lane[2] > window / 4 then
      lane[2] = now
      note_lane(name, now, window)
    end
    fields[#fields + 1] = 'lane:' .. name
    fields[#fields + 1] = string.format('%.0f %.0f', lane[1], lane[2])
  end
  redis.call('HSET', META, unpack(fields))
  -- The last one taken becomes the entry "" at the beginning.
  redis.call('LSET', INBOX, count, '')
  redis.call('LTRIM', INBOX, count, -1)
  -- Each of them left a token, and one is enough.
  redis.pcall('LTRIM', wake_key, 0, 0)
  return waiting - count
end

local function parse(message)
  local id, priority, ready, losses, returns, payload =
    string.match(message, '^([^:]*):(%d+):(%d+):(%d+):(%d+):(.*)$')
  return {
    id = id, priority = tonumber(priority), ready = tonumber(ready),
    losses = tonumber(losses), returns = tonumber(returns), payload = payload,
  }
end

local function format(m)
  return string.format('%s:%d:%.0f:%d:%d:', m.id, m.priority, m.ready, m.losses, m.returns) .. m.payload
end

-- Score, since and message of what is held. A worker of an earlier version left no time.
local function parse_held(held)
  local score, since, message = string.match(held, '^(%d+) (%d+) (.*)$')
  if not score then
    score, message = string.match(held, '^(%d+) (.*)$')
  end
  return score, since or '0', message
end

local function make_ready(m)
  local score = (10 - m.priority) * PRIORITY_STEP + redis.call('HINCRBY', META, 'sequence', 1)
  redis.call('ZADD', READY, score, format(m))
end

local function bury(m, reason, now)
  redis.call('ZADD', DEAD, now, reason .. ' ' .. format(m))
  redis.call('HINCRBY', META, 'buried', 1)
end

-- Give a message back that was held under `lease`. Returns 'ready', 'delayed' or 'dead', or nil when nobody holds it so.
local function give_back(lease, lost, limit, reason, delay, now)
  local held = redis.call('HGET', INFLIGHT, lease)
  if not held then
    return nil
  end
  local score, _, message = parse_held(held)
  local m = parse(message)
  m.returns = m.returns + 1
  if lost then
    m.losses = m.losses + 1
  end
  local place
  if m.losses > limit then
    bury(m, reason, now)
    place = 'dead'
  elseif delay > 0 then
    redis.call('ZADD', DELAYED, now + delay, format(m))
    place = 'delayed'
  else
    redis.call('ZADD', READY, score, format(m))
    place = 'ready'
  end
  redis.call('HDEL', INFLIGHT, lease)
  redis.call('ZREM', LEASES, lease)
  redis.call('HINCRBY', META, 'returned', 1)
  return place
end

-- A message that came back to its place and that nobody has taken since, or nil.
local function unheld_copy(score, id)
  for _, copy in ipairs(redis.call('ZRANGEBYSCORE', READY, score, score)) do
    if string.sub(copy, 1, #id + 1) == id .. ':' then
      return copy
    end
  end
  return nil
end

-- Move delayed messages whose time has come to the ready ones, at most `limit`.
local function promote(now, limit)
  local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #due, 2 do
    local m = parse(due[i])
    m.ready = tonumber(due[i + 1])
    make_ready(m)
    redis.call('ZREM', DELAYED, due[i])
  end
  if #due > 0 then
    redis.call('HINCRBY', META, 'promoted', #due / 2)
  end
  return #due / 2
end

-- Take back what dead holders held. After an outage or a jump of the clock (nobody looked for half a lease, or time went
-- backwards) nothing expires for one lease: the holders could not renew either.
local function recover(now, lease, limit)
  local seen = tonumber(redis.call('HGET', META, 'seen') or 0)
  local quiet = tonumber(redis.call('HGET', META, 'quiet_until') or 0)
  if now < seen or now - seen > lease / 2 then
    quiet = now + lease
    redis.call('HSET', META, 'quiet_until', quiet, 'seen', now)
  elseif now - seen > lease / 20 then
    redis.call('HSET', META, 'seen', now)
  end
  -- A deadline further away than this was set by a clock that has since gone back: it would never come.
  if quiet > now + lease then
    redis.call('HSET', META, 'quiet_until', now + lease)
  end
  if now < quiet then
    return 0
  end
  local expired = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 100)
  for _, id in ipairs(expired) do
    if not give_back(id, true, limit, 'delivery-limit', 0, now) then
      redis.call('ZREM', LEASES, id)
    end
  end
  if #expired > 0 then
    redis.call('HINCRBY', META, 'recovered', #expired)
  end
  return #expired
end

-- The sentinel is not a message.
local function ready_count()
  return redis.call('ZCARD', READY) - 1
end

local function lowest(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[1] and first[1] ~= '' then
    return tonumber(first[2])
  end
  return nil
end
