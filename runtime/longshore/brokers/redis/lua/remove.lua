-- Drop what is ready and delayed of a queue; with `whole` also its claims and that it ever was.
local queue, whole = unpack(cmsgpack.unpack(ARGV[1]))
begin(queue)
local dropped = redis.call('LLEN', own(queue, 'alone')) + redis.call('ZCARD', own(queue, 'delayed'))
for lane in string.gmatch('9630', '%d') do
  dropped = dropped + redis.call('LLEN', lane_list(queue, lane))
  redis.call('UNLINK', lane_list(queue, lane))
end
redis.call('UNLINK', own(queue, 'alone'), own(queue, 'delayed'), own(queue, 'returned'))
if whole then
  for _, owner in ipairs(redis.call('ZRANGE', own(queue, 'owners'), 0, -1)) do
    redis.call('UNLINK', own(queue, 'held:' .. owner), own(queue, 'inbox:' .. owner))
  end
  redis.call('UNLINK', own(queue, 'owners'))
  redis.call('SREM', declared_queues(queue), queue)
end
return dropped
