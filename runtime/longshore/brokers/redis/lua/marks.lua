-- Marks that everybody reads: two sorted sets of ids, by when they were set (the cursor) and by when they expire.
-- A cursor is the server's time in microseconds, moved on where two would be alike: it never repeats, even when the
-- server has lost what it had.
local what, kind, ids, expires = unpack(cmsgpack.unpack(ARGV[1]))
local set_at, expire_at = 'longshore:1:{marks:' .. kind .. '}:set', 'longshore:1:{marks:' .. kind .. '}:expire'
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

for _, id in ipairs(redis.call('ZRANGEBYSCORE', expire_at, '-inf', now)) do
  redis.call('ZREM', expire_at, id)
  redis.call('ZREM', set_at, id)
end

local newest = redis.call('ZRANGE', set_at, -1, -1, 'WITHSCORES')
local cursor = tonumber(newest[2] or 0)

if what == 'read' then
  local since = expires
  return {string.format('%.0f', math.max(cursor, since)), redis.call('ZRANGEBYSCORE', set_at, string.format('(%.0f', since), '+inf')}
end
for _, id in ipairs(ids) do
  if what == 'remove' then
    redis.call('ZREM', expire_at, id)
    redis.call('ZREM', set_at, id)
  else
    cursor = math.max(cursor + 1, now)
    redis.call('ZADD', set_at, string.format('%.0f', cursor), id)
    redis.call('ZADD', expire_at, string.format('%.0f', now + expires), id)
  end
end
return 'OK'
