-- Put delayed messages into Celery's lists, in the form that Celery holds until they are due: each if it still waits.
local queue, entries = unpack(cmsgpack.unpack(ARGV[1]))
local moved = 0
begin(queue)
for _, entry in ipairs(entries) do
  local waiting, lane, envelope = unpack(entry)
  if redis.call('ZREM', own(queue, 'delayed'), waiting) == 1 then
    redis.call('LPUSH', lane_list(queue, lane), envelope)
    moved = moved + 1
  end
end
return moved
