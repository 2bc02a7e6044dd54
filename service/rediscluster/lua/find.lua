#!lua flags=no-writes
-- Look for a task's messages in one place of a queue, a bounded number at a time, and change nothing.
-- ARGV: 1 place (ready, delayed, dead or inflight), 2 cursor and 3 offset ('' and 0, then as returned), 4 the task id as
--       JSON writes it, but for the first quote, 5 how many messages and 6 how many bytes to look at, about
-- Returns {cursor ('' at the end), offset, now in ms, how many are in that place, {{rank, score or lease, deadline in ms,
--          what stands before the message, the message without its body}, …}}
--
-- A sorted set is walked by score, with an offset inside one score: ranks shift while the walk goes on.
local place, cursor, offset, id = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local count, bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
if not exists() then
  return { '', 0, now_ms(), 0, {} }
end
local BATCH = 20
local found = {}

-- Whether the message's head names the task as its own; others name it as their root, parent or group.
local function is_wanted(message)
  -- Without its first quote: there are too many of them to stumble over.
  local at = string.find(message, id, 1, true)
  while at do
    local name = string.match(string.sub(message, math.max(at - 20, 1), at - 1), '"([%a_]+)":"$')
    if name == 'id' or name == 'correlation_id' then
      return not string.find(string.sub(message, 1, at), '\n', 1, true)
    end
    at = string.find(message, id, at + 1, true)
  end
  return false
end

local function look(stored, rank, name)
  count, bytes = count - 1, bytes - #stored
  if is_wanted(stored) then
    local before, head = string.match(stored, '^([^{]*)([^\n]*)')
    local deadline = place == 'inflight' and redis.call('ZSCORE', LEASES, name) or ''
    found[#found + 1] = { rank, name, deadline, before, head }
  end
end

if place == 'inflight' then
  if cursor == '' then
    cursor = '0'
  end
  repeat
    local reply = redis.call('HSCAN', INFLIGHT, cursor, 'COUNT', BATCH)
    cursor = reply[1]
    for i = 1, #reply[2], 2 do
      look(reply[2][i + 1], 0, reply[2][i])
    end
  until cursor == '0' or count <= 0 or bytes <= 0
  return { cursor ~= '0' and cursor or '', 0, now_ms(), redis.call('HLEN', INFLIGHT) - 1, found }
end

local key = ({ ready = READY, delayed = DELAYED, dead = DEAD })[place]
local rank = offset
if cursor ~= '' then
  rank = rank + redis.call('ZCOUNT', key, '-inf', '(' .. cursor)
end
local size = redis.call('ZCARD', key)
while rank < size and count > 0 and bytes > 0 do
  local members = redis.call('ZRANGE', key, rank, rank + BATCH - 1, 'WITHSCORES')
  for i = 1, #members, 2 do
    offset = members[i + 1] == cursor and offset + 1 or 1
    cursor = members[i + 1]
    look(members[i], rank, cursor)
    rank = rank + 1
  end
end
return { rank < size and cursor or '', offset, now_ms(), size - 1, found }
