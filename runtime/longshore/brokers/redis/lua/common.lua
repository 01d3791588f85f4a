-- What every script of ours shares. Scripts read envelopes at most; none ever writes one anew, because cjson turns []
-- into {} and rounds integers. A token is call.index.lane.mark.consumer: when and where a claim came from, and its mark:
-- '' for a message that nobody has held before, 'r' for one that was given back without a start, and for what may be
-- poison the number of its started executions, 0 among them.

local RETURNED_SECONDS = 86400  -- how long it is remembered that a message was given back without a start
local SOLO_PATIENCE = 1  -- seconds that a message may wait for an owner with empty hands

local function server_now()
  local time = redis.call('TIME')
  return time[1] + time[2] / 1000000
end

local function own(queue, name)
  return 'longshore:1:{' .. queue .. '}:' .. name
end

-- In a cluster every key of a queue has the queue for its hash tag; the plain list has it as it is.
local function lane_list(queue, lane)
  if lane == '0' then return queue end
  if clustered then queue = '{' .. queue .. '}' end
  return queue .. '\6\22' .. lane
end

local function declared_queues(queue)
  return clustered and own(queue, 'queues') or 'longshore:1:queues'
end

-- Let later writes pass when memory is short: only a script that has written before may go on then, and what follows
-- mostly frees memory. In a cluster this key, which never is there, also keeps a script from starting while its slot is
-- on the move: a later command might find its key gone, and the script would end in the middle.
local function begin(queue)
  redis.call('DEL', own(queue, 'none'))
end

local function promote(queue, now, most)
  local delayed = own(queue, 'delayed')
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, most)
  for _, entry in ipairs(due) do
    redis.call('LPUSH', lane_list(queue, string.sub(entry, 1, 1)), string.sub(entry, 2))
    redis.call('ZREM', delayed, entry)
  end
  return #due
end

local function parse_token(token)
  local call, index, lane, mark = string.match(token, '^(%d+)%.(%d+)%.(%d)%.(%w*)%.')
  return {token = token, call = tonumber(call), index = tonumber(index), lane = lane, mark = mark}
end

local function is_suspect(claim)
  return tonumber(claim.mark) ~= nil
end

-- Return a claim to the front. What may be poison goes to the list of those that are claimed alone; what is innocent
-- to Celery's list, as it was, and a set remembers that it was held, unless nobody has seen it.
local function give_back(queue, claim, envelope, how, now)
  if how == 'unseen' and claim.mark == '' then
    redis.call('RPUSH', lane_list(queue, claim.lane), envelope)
    return
  end
  if how == 'unseen' then how = 'uncounted' end
  if how == 'uncounted' and not is_suspect(claim) then
    redis.call('RPUSH', lane_list(queue, claim.lane), envelope)
    redis.call('SADD', own(queue, 'returned'), redis.sha1hex(envelope))
    redis.call('EXPIRE', own(queue, 'returned'), RETURNED_SECONDS)
    return
  end
  local count = tonumber(claim.mark) or 0
  if how == 'counted' then count = count + 1 end
  redis.call('RPUSH', own(queue, 'alone'), string.format('%d:%.3f:%s:', count, now, claim.lane) .. envelope)
end

-- Pushed back in this order, claims stand in their queue as they stood before.
local function last_claimed_first(a, b)
  if a.claim.call ~= b.claim.call then return a.claim.call > b.claim.call end
  return a.claim.index > b.claim.index
end

-- Return an owner's claims as {claim, envelope} pairs.
local function held_by(queue, owner)
  local flat = redis.call('HGETALL', own(queue, 'held:' .. owner))
  local held = {}
  for i = 1, #flat, 2 do
    held[#held + 1] = {claim = parse_token(flat[i]), envelope = flat[i + 1]}
  end
  table.sort(held, last_claimed_first)
  return held
end

-- What a blocking move left in an owner's inbox was never seen by a task: back to the front, uncounted.
local function empty_inbox(queue, owner)
  local inbox, moved = own(queue, 'inbox:' .. owner), 0
  while redis.call('LMOVE', inbox, queue, 'RIGHT', 'RIGHT') do moved = moved + 1 end
  return moved
end

local function is_success(text)
  if string.find(text, '^{"status": ?"SUCCESS"') then return true end
  local readable, meta = pcall(cjson.decode, text)
  return readable and type(meta) == 'table' and meta.status == 'SUCCESS'
end

-- Store a result as Celery does, with an expiry, and publish it; a stored SUCCESS stays. `expires` in milliseconds, 0
-- for never. Return whether it was stored.
local function store_result(key, text, expires)
  local life = expires > 0 and {'PX', expires} or {}
  if not redis.call('SET', key, text, 'NX', unpack(life)) then
    local earlier = redis.pcall('GET', key)
    if type(earlier) == 'string' and is_success(earlier) then return false end
    redis.call('SET', key, text, unpack(life))
  end
  redis.call('PUBLISH', key, text)
  return true
end
