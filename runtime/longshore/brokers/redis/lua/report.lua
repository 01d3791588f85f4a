-- Say or read what workers say of themselves; who was silent for too long is forgotten, by this server's clock.
local seconds, worker, text = unpack(cmsgpack.unpack(ARGV[1]))
local now = server_now()
local seen, reports = 'longshore:1:{workers}:seen', 'longshore:1:{workers}:reports'
for _, silent in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', now - seconds)) do
  redis.call('ZREM', seen, silent)
  redis.call('HDEL', reports, silent)
end
if worker then
  redis.call('ZADD', seen, now, worker)
  redis.call('HSET', reports, worker, text)
  return 'OK'
end
local answer = {}
for _, name in ipairs(redis.call('ZRANGE', seen, 0, -1)) do
  answer[#answer + 1] = {redis.call('ZSCORE', seen, name), redis.call('HGET', reports, name)}
end
return answer
