-- For each queue {ready, leased, delayed, since, due}, or false where there is no such queue. What is due counts as
-- ready: the next claim takes it. `since` is '' where the oldest message does not say when it was sent.
local queues = unpack(cmsgpack.unpack(ARGV[1]))
local now = server_now()

local function sent_at(envelope)
  return tonumber(string.match(envelope, '"longshore%-at": ?([%d.eE+]+)}$'))
end

local function older(since, list)
  local envelope = redis.call('LINDEX', list, -1)
  if not envelope or since == '' then return since end
  local at = sent_at(envelope)
  if not at then return '' end
  return since and math.min(since, at) or at
end

local function waiting(queue)
  local lists, ready, since = {own(queue, 'alone')}, 0, nil
  for lane in string.gmatch('9630', '%d') do lists[#lists + 1] = lane_list(queue, lane) end
  for _, list in ipairs(lists) do
    ready = ready + redis.call('LLEN', list)
    since = older(since, list)
  end
  return ready, since
end

local function leased(queue)
  local count = 0
  for _, owner in ipairs(redis.call('ZRANGE', own(queue, 'owners'), 0, -1)) do
    count = count + redis.call('HLEN', own(queue, 'held:' .. owner)) + redis.call('LLEN', own(queue, 'inbox:' .. owner))
  end
  return count
end

local function depth(queue)
  local ready, since = waiting(queue)
  local delayed = own(queue, 'delayed')
  local due = redis.call('ZCOUNT', delayed, '-inf', now)
  local later = redis.call('ZCARD', delayed) - due
  local next_due = redis.call('ZRANGEBYSCORE', delayed, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local held = leased(queue)
  if ready + held + due + later == 0 and redis.call('SISMEMBER', declared_queues(queue), queue) == 0 then
    return false
  end
  return {ready + due, held, later, since and tostring(since) or '', next_due or ''}
end

local answer = {}
for i, queue in ipairs(queues) do answer[i] = depth(queue) end
return answer
