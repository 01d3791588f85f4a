-- Return what Celery's workers hold for longer than their visibility time-out, as {tag, entry} pairs, the oldest first;
-- nothing while a Celery worker is restoring: it holds the mutex. `after` is the number of entries to leave out.
local timeout, after, most = unpack(cmsgpack.unpack(ARGV[1]))
if redis.call('EXISTS', 'unacked_mutex') == 1 then return {} end
local overdue = {}
local ends = string.format('%.6f', server_now() - timeout)
for _, tag in ipairs(redis.call('ZRANGEBYSCORE', 'unacked_index', '-inf', ends, 'LIMIT', after, most)) do
  overdue[#overdue + 1] = {tag, redis.call('HGET', 'unacked', tag)}
end
return overdue
