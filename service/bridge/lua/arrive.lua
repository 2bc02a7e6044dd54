-- Store messages of another broker, each identity once, however late a request is repeated. It stands behind the
-- transport's lib.lua and a function `publish` that is the transport's publish.lua.
-- KEYS: 1-8 those of the queue, 9 hash of identity to time in ms: what arrived and may still be sent again; beside them
--       the epoch and the number of the last request.
-- ARGV: 1 wake key, 2 epoch of the bridge, 3 number of the request, rising, 4 a lane that no other attempt uses,
--       5 dedupe window in ms, 6 how many identities to forget, these, then quadruples: identity, priority 0-10,
--       due time in ms (0: now), payload
-- Returns how many were stored now. Errors: NOQUEUE; SUPERSEDED: another bridge, or a later request, has come.
if not exists() then
  return NO_QUEUE
end
local ARRIVED = KEYS[9]
local epoch, number = tonumber(ARGV[2]), tonumber(ARGV[3])
local last_epoch = tonumber(redis.call('HGET', ARRIVED, 'epoch') or 0)
local last_number = tonumber(redis.call('HGET', ARRIVED, 'number') or 0)
-- What a later request forgot must not be stored by an earlier one that was stuck on its way.
if epoch < last_epoch or (epoch == last_epoch and number < last_number) then
  return { err = 'SUPERSEDED another bridge, or a later request, has come' }
end
redis.call('HSET', ARRIVED, 'epoch', ARGV[2], 'number', ARGV[3])

local messages = 7 + tonumber(ARGV[6])
for i = 7, messages - 1 do
  redis.call('HDEL', ARRIVED, ARGV[i])
end
local stored = 0
for i = messages, #ARGV, 4 do
  if redis.call('HSETNX', ARRIVED, ARGV[i], now_ms()) == 1 then
    stored = stored + 1
    local ready = math.max(now_ms(), tonumber(ARGV[i + 2]))
    local message = format({ id = ARGV[i], priority = ARGV[i + 1], ready = ready, losses = 0, returns = 0, payload = ARGV[i + 3] })
    publish({ ARGV[1], ARGV[4], stored, ARGV[i + 1], ARGV[i + 2], ARGV[5], message })
  end
end
return stored
