#!lua flags=allow-oom
-- Make ready what producers left in the inbox, as other scripts do first.
-- ARGV: 1 wake key
-- Returns how many are still there.
if not exists() then
  return 0
end
return absorb(ARGV[1])
