#!lua flags=allow-oom
-- Give all keys of a temporary queue one absolute expiry, and leave a mark that outlives it by an hour.
-- ARGV: 1 wake key, 2 key of the mark, 3 ms from now
-- Returns 1, or 0 when the queue does not exist.
if not exists() then
  return 0
end
local at = now_ms() + ARGV[3]
for _, key in ipairs(KEYS) do
  redis.call('PEXPIREAT', key, string.format('%.0f', at))
end
redis.pcall('PEXPIREAT', ARGV[1], string.format('%.0f', at))
redis.pcall('SET', ARGV[2], '1', 'PXAT', string.format('%.0f', at + 3600000))
return 1
