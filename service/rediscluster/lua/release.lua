#!lua flags=allow-oom
-- Give messages back before their lease ends.
-- ARGV: 1 wake key, 2 delivery limit, 3 whether this counts against it (1 or 0), 4 reason if it ends there,
--       5 ms to wait before it is ready again, then leases
-- Returns how many were given back; one that is not held under its lease is left alone.
if not exists() then
  return NO_QUEUE
end
local now = now_ms()
local count = 0
for i = 6, #ARGV do
  if give_back(ARGV[i], ARGV[3] == '1', tonumber(ARGV[2]), ARGV[4], tonumber(ARGV[5]), now) then
    count = count + 1
  end
end
if count > 0 then
  wake(ARGV[1])
end
return count
