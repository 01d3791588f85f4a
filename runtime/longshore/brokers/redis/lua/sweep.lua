-- Take over the claims of owners whose lease is over by this server's clock, and promote what is due.
-- Who held one claim was running it: that counts. Of several nobody knows which was running: they become suspects,
-- uncounted, claimed alone from now on; but a suspect among them, the newest, is taken for the culprit.
local queues = unpack(cmsgpack.unpack(ARGV[1]))
local now = server_now()
local moved = 0
begin(queues[1])

local function culprit(held)
  if #held == 1 then return held[1] end
  for _, entry in ipairs(held) do
    if is_suspect(entry.claim) then return entry end
  end
  return nil
end

local function take_over(queue, owner)
  moved = moved + empty_inbox(queue, owner)
  local held = held_by(queue, owner)
  local guilty = culprit(held)
  for _, entry in ipairs(held) do
    give_back(queue, entry.claim, entry.envelope, entry == guilty and 'counted' or 'suspect', now)
    moved = moved + 1
  end
  redis.call('DEL', own(queue, 'held:' .. owner))
  redis.call('ZREM', own(queue, 'owners'), owner)
end

for _, queue in ipairs(queues) do
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', own(queue, 'owners'), '-inf', now, 'LIMIT', 0, 100)) do
    take_over(queue, owner)
  end
  moved = moved + promote(queue, now, 1000)
end
return moved
