#!lua
-- Let a kept lane begin at a number: publishes up to it count as stored. A lane never goes back.
-- ARGV: 1 lane, 2 number
-- Returns the number at which the lane stands now. Error NOQUEUE: declare the queue first.
if not exists() then
  return NO_QUEUE
end
local field, number = 'lane:' .. ARGV[1], tonumber(ARGV[2])
local last = tonumber(string.match(redis.call('HGET', META, field) or '', '^(%d+) ') or 0)
-- Written again, so that whoever asks for the replicas' confirmation gets that of this number.
redis.call('HSET', META, field, string.format('%.0f 0', math.max(last, number)))
return math.max(last, number)
