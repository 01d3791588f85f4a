-- Put claims, inboxes and suspects of a queue back into Celery's lists and forget that the queue was ours. Unless forced,
-- only when no lease is in force: until it is over, a blocking move of its owner may still be served. Returns
-- {seconds until the last lease is over, claims, suspects}; with seconds above 0 nothing has happened.
local queue, forced = unpack(cmsgpack.unpack(ARGV[1]))
local owners = own(queue, 'owners')
local last = redis.call('ZRANGE', owners, -1, -1, 'WITHSCORES')[2]
local left = last and tonumber(last) - server_now() or 0
if left > 0 and not forced then return {string.format('%.6f', left), 0, 0} end
begin(queue)

local suspects, claims = 0, 0
local entry = redis.call('LPOP', own(queue, 'alone'))
while entry do
  local lane, envelope = string.match(entry, '^%d+:[%d.]+:(%d):(.*)$')
  redis.call('RPUSH', lane_list(queue, lane), envelope)
  suspects = suspects + 1
  entry = redis.call('LPOP', own(queue, 'alone'))
end

for _, owner in ipairs(redis.call('ZRANGE', owners, 0, -1)) do
  claims = claims + empty_inbox(queue, owner)
  for _, held in ipairs(held_by(queue, owner)) do
    redis.call('RPUSH', lane_list(queue, held.claim.lane), held.envelope)
    claims = claims + 1
  end
  redis.call('DEL', own(queue, 'held:' .. owner))
end
redis.call('DEL', owners, own(queue, 'returned'))
redis.call('SREM', declared_queues(queue), queue)
return {'0', claims, suspects}
