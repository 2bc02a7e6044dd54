-- Stands behind Celery's script that counts a part of a chord, which is here the function celery(): whoever counts the last
-- part claims the right to send the chord's end, and Celery's claim ends by time alone. A part whose process died before it
-- sent the end comes back before that, and must have the claim again.
-- KEYS: 1-6 Celery's, the claim being 6; 7 which part holds it
-- ARGV: Celery's: 1 task id, 4 place in the header, 7 how long the claim holds in seconds, 8 its token; 9 how long it is
--       remembered which part took it, in seconds
-- Returns what Celery's does: {parts counted, how many were added, size, 1 if the claim is ours else 0}
local reply = celery()
local part = ARGV[1] .. ':' .. ARGV[4]
if reply[4] == 0 and reply[3] and reply[1] == tonumber(reply[3]) + tonumber(reply[2] or 0)
    and redis.call('GET', KEYS[7]) == part and redis.call('SET', KEYS[6], ARGV[8], 'XX', 'EX', ARGV[7]) then
  reply[4] = 1
end
if reply[4] == 1 then
  redis.call('SET', KEYS[7], part, 'EX', ARGV[9])
end
return reply
