-- Settle, send what settlements send, renew the lease, promote what is due, claim: one round trip, one transaction.
local owner, lease, lanes, queues, call, consumer, limit, solo, done, others, known, stored, results_in,
  adopted =
  unpack(cmsgpack.unpack(ARGV[1]))
local now = server_now()
local late = 0
begin(queues[1])

-- What a blocking wait has moved into the inbox was handed out at once: it becomes a claim, if it is still there.
for _, item in ipairs(adopted) do
  local queue, token, envelope = unpack(item)
  if redis.call('LREM', own(queue, 'inbox:' .. owner), 1, envelope) == 1 then
    redis.call('HSET', own(queue, 'held:' .. owner), token, envelope)
    if redis.call('EXISTS', own(queue, 'returned')) == 1 then
      redis.call('SREM', own(queue, 'returned'), redis.sha1hex(envelope))
    end
  end
end

for _, group in ipairs(done) do
  local tokens = group[2]
  late = late + #tokens - redis.call('HDEL', own(group[1], 'held:' .. owner), unpack(tokens))
end

-- Results are on this server, perhaps in another database: `results_in` is {theirs, ours}.
local function store_results(results)
  if results_in then redis.call('SELECT', results_in[1]) end
  for _, result in ipairs(results) do store_result(unpack(result)) end
  if results_in then redis.call('SELECT', results_in[2]) end
end

-- Of claims that are still ours the results are stored, then they are removed.
for _, group in ipairs(stored) do
  local held, expires = own(group[1], 'held:' .. owner), group[2]
  local tokens, results = {}, {}
  for _, item in ipairs(group[3]) do
    if redis.call('HEXISTS', held, item[1]) == 1 then
      tokens[#tokens + 1] = item[1]
      results[#results + 1] = {item[2], item[3], expires}
    else
      late = late + 1
    end
  end
  if #tokens > 0 then
    store_results(results)
    redis.call('HDEL', held, unpack(tokens))
  end
end

local function send(queue, lane, envelope, due)
  if due > 0 then
    redis.call('ZADD', own(queue, 'delayed'), due, lane .. envelope)
  else
    redis.call('LPUSH', lane_list(queue, lane), envelope)
  end
end

-- How it ends: removed, or given back 'counted', 'uncounted' or 'unseen'; a claim that is not ours any more stores
-- and sends nothing.
local returns = {}
for _, item in ipairs(others) do
  local queue, token, how, sends, result = unpack(item)
  local held = own(queue, 'held:' .. owner)
  local envelope = redis.call('HGET', held, token)
  if not envelope then
    late = late + 1
  else
    if result then store_results({result}) end
    for _, outgoing in ipairs(sends) do send(unpack(outgoing)) end
    redis.call('HDEL', held, token)
    if how ~= 'removed' then
      returns[#returns + 1] = {queue = queue, claim = parse_token(token), envelope = envelope, how = how}
    end
  end
end
table.sort(returns, last_claimed_first)
for _, entry in ipairs(returns) do give_back(entry.queue, entry.claim, entry.envelope, entry.how, now) end

-- After a broken connection an answer may be lost: claims that the client does not know of go back.
if known then
  local is_known = {}
  for _, token in ipairs(known) do is_known[token] = true end
  for _, queue in ipairs(queues) do
    for _, entry in ipairs(held_by(queue, owner)) do
      if not is_known[entry.claim.token] then
        give_back(queue, entry.claim, entry.envelope, 'uncounted', now)
        redis.call('HDEL', own(queue, 'held:' .. owner), entry.claim.token)
      end
    end
  end
end

local index, taken, claimed = 0, 0, {}

local function hold(queue, lane, mark, envelopes)
  if #envelopes == 0 then return end
  local group, fields = {queue, lane, mark, index + 1}, {}
  for i, envelope in ipairs(envelopes) do
    index = index + 1
    fields[2 * i - 1] = call .. '.' .. index .. '.' .. lane .. '.' .. mark .. '.' .. consumer
    fields[2 * i] = envelope
    group[4 + i] = envelope
  end
  redis.call('HSET', own(queue, 'held:' .. owner), unpack(fields))
  claimed[#claimed + 1] = group
  taken = taken + #envelopes
end

-- Something suspect waits. With empty hands take it, alone; else take nothing more here, so that the hands become empty,
-- unless it has waited long: a worker of many slots may never be idle.
local function take_suspect(queue)
  local entry = redis.call('LINDEX', own(queue, 'alone'), -1)
  if not entry then return false end
  local count, since, lane, envelope = string.match(entry, '^(%d+):([%d.]+):(%d):(.*)$')
  if taken == 0 and (solo or now - tonumber(since) > SOLO_PATIENCE) then
    redis.call('RPOP', own(queue, 'alone'))
    hold(queue, lane, count, {envelope})
    return true, true
  end
  return true, false
end

-- Claim those that were given back as a group of their own, which says so; almost always there are none.
local function hold_fresh(queue, lane, envelopes)
  local returned = own(queue, 'returned')
  if redis.call('EXISTS', returned) == 0 then return hold(queue, lane, '', envelopes) end
  local fresh, again = {}, {}
  for _, envelope in ipairs(envelopes) do
    local known_before = redis.call('SREM', returned, redis.sha1hex(envelope)) == 1
    table.insert(known_before and again or fresh, envelope)
  end
  hold(queue, lane, 'r', again)
  hold(queue, lane, '', fresh)
end

local function take_from_lanes(queue)
  for lane in string.gmatch(lanes, '%d') do
    if taken >= limit then return end
    local envelopes = redis.call('RPOP', lane_list(queue, lane), limit - taken)
    if envelopes then hold_fresh(queue, lane, envelopes) end
  end
end

for _, queue in ipairs(queues) do
  redis.call('ZADD', own(queue, 'owners'), now + lease, owner)
  empty_inbox(queue, owner)
end

local alone, withheld = false, 0
for _, queue in ipairs(queues) do
  if taken >= limit or alone then break end
  promote(queue, now, 200)
  local waiting, took = take_suspect(queue)
  if took then
    alone = true
  elseif waiting then
    withheld = 1
  else
    take_from_lanes(queue)
  end
end

local due_in = -1
if taken == 0 and limit > 0 then
  for _, queue in ipairs(queues) do
    local first = redis.call('ZRANGE', own(queue, 'delayed'), 0, 0, 'WITHSCORES')
    if first[2] then
      local left = math.max(tonumber(first[2]) - now, 0)
      if due_in < 0 or left < due_in then due_in = left end
    end
  end
end

return {late, string.format('%.6f', due_in), withheld, claimed}
