#!lua
-- Let a kept lane begin at a number: publishes up to it count as stored. A lane never goes back.
-- ARGV: 1 lane, 2 number
-- Returns the number at which the lane stands now. Error NOQUEUE: declare the queue first.
if not exists() then
  return NO_QUEUE
end
local field = 'lane:' .. ARGV[1]
local last = lane_of(redis.call('HGET', META, field))
local number = math.max(last, tonumber(ARGV[2]))
-- Written also where it does not change, so that whoever asks for the replicas' confirmation gets that of this number.
redis.call('HSET', META, field, string.format('%.0f 0', number))
return number
