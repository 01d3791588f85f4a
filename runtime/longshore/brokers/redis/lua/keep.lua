-- Prolong the leases of live owners; with `enroll` also of one that has none yet, as before a blocking move.
local owners, lease, queues, enroll = unpack(cmsgpack.unpack(ARGV[1]))
local ends = server_now() + lease
begin(queues[1])
for _, queue in ipairs(queues) do
  for _, owner in ipairs(owners) do
    if enroll then
      redis.call('ZADD', own(queue, 'owners'), ends, owner)
    else
      redis.call('ZADD', own(queue, 'owners'), 'XX', ends, owner)
    end
  end
end
return 'OK'
