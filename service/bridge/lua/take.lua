-- Take messages of one queue, the most urgent list first, and remember them until they are stored in the fleet.
-- What was taken before and is not settled is returned again, and nothing new: so one path serves a bridge that was
-- killed, a reply that was lost, and the normal case.
-- KEYS: 1 owner, 2 taken, then the lists. ARGV: 1 epoch, 2 prefix of new identities, 3 how many at most,
--       4 how many bytes after which no more is taken, then a label for each list
-- Returns {identity, label and message, …}. Error SUPERSEDED: another bridge has come.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return redis.error_reply('SUPERSEDED another bridge has come')
end
local taken = redis.call('HGETALL', KEYS[2])
if #taken > 0 then
  return taken
end
local number, bytes = 0, 0
for i = 3, #KEYS do
  while number < tonumber(ARGV[3]) and bytes < tonumber(ARGV[4]) do
    local raw = redis.call('LINDEX', KEYS[i], -1)
    if not raw then
      break
    end
    number = number + 1
    bytes = bytes + #raw
    local id, entry = ARGV[2] .. string.format('%06d', number), ARGV[2 + i] .. '\n' .. raw
    -- First noted, then removed: in a full memory the first is refused and nothing has happened.
    redis.call('HSET', KEYS[2], id, entry)
    redis.call('RPOP', KEYS[i])
    taken[#taken + 1] = id
    taken[#taken + 1] = entry
  end
end
return taken
