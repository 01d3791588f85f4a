-- Put what Celery's workers hold for too long back into its queues, each entry if it is still overdue. A script is a
-- transaction, so that looking at the mutex once equals holding it until the end.
local timeout, entries = unpack(cmsgpack.unpack(ARGV[1]))
if redis.call('EXISTS', 'unacked_mutex') == 1 then return 0 end
local ends, restored = server_now() - timeout, 0
for _, entry in ipairs(entries) do
  local tag, lane, envelope, queues = unpack(entry)
  local since = redis.call('ZSCORE', 'unacked_index', tag)
  if since and tonumber(since) <= ends and redis.call('HEXISTS', 'unacked', tag) == 1 then
    for _, queue in ipairs(queues) do redis.call('RPUSH', lane_list(queue, lane), envelope) end
    redis.call('HDEL', 'unacked', tag)
    redis.call('ZREM', 'unacked_index', tag)
    restored = restored + 1
  end
end
return restored
