#!lua flags=allow-oom
-- Give all keys of a temporary queue one absolute expiry.
-- ARGV: 1 ms from now
-- Returns 1, or 0 when the queue does not exist.
if not exists() then
  return 0
end
local at = now_ms() + ARGV[1]
for _, key in ipairs(KEYS) do
  redis.call('PEXPIREAT', key, string.format('%.0f', at))
end
return 1
