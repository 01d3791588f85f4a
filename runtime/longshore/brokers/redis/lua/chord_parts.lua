-- Count parts of chords in the keys that Celery's workers use: .j the parts by index, .s the size, .t what was added, and
-- since Celery 5.7 .d who was counted and .c who dispatches. Workers of Celery 5.6 know neither .d nor .c, so that a part
-- that ran twice there may stand in .j twice: what is there is counted by task and index.
local parts, expires, patience = unpack(cmsgpack.unpack(ARGV[1]))
local WAITING, OVER, TAKEN, WHOLE = 0, 1, 2, 3

local function different(members)
  local seen, count = {}, 0
  for i = 1, #members, 2 do
    local who = (string.match(members[i], '^%[1, ?"(.-)"') or members[i]) .. ':' .. members[i + 1]
    if not seen[who] then
      seen[who] = true
      count = count + 1
    end
  end
  return count
end

local function dispatch(key, claimant)
  local holder = redis.call('GET', key .. '.c')
  if holder and holder ~= claimant then return false end
  redis.call('SET', key .. '.c', claimant, 'EX', patience)
  return true
end

local function count(key, task_id, index, value, claimant)
  if redis.call('GET', key .. '.c') == 'done' then return {OVER} end
  if redis.call('SADD', key .. '.d', task_id .. ':' .. index) == 1 then redis.call('ZADD', key .. '.j', index, value) end
  if expires > 0 then
    for _, suffix in ipairs({'.j', '.t', '.s', '.d', ''}) do redis.call('EXPIRE', key .. suffix, expires) end
  end
  local size = tonumber(redis.call('GET', key .. '.s') or nil)
  if not size then return {WAITING} end
  local total = size + tonumber(redis.call('GET', key .. '.t') or 0)
  if redis.call('ZCARD', key .. '.j') < total then return {WAITING} end
  local members = redis.call('ZRANGE', key .. '.j', 0, -1, 'WITHSCORES')
  if different(members) < total then return {WAITING} end
  if not dispatch(key, claimant) then return {TAKEN} end
  return {WHOLE, redis.call('GET', key) or '', members}
end

local answers = {}
for i, part in ipairs(parts) do answers[i] = count(unpack(part)) end
return answers
