#!lua
-- Append a message to the stream of a fanout exchange.
-- KEYS: 1 stream. ARGV: 1 about how many messages to keep, 2 ms after which an unused stream goes away, 3 routing key,
--       4 message
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'key', ARGV[3], 'message', ARGV[4])
if redis.call('PTTL', KEYS[1]) < ARGV[2] / 2 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
