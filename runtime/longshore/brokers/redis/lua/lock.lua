-- A lock: take, renew or release it, by its holder; what the holder's time is over is nobody's. Times in milliseconds.
local what, key, holder, expires = unpack(cmsgpack.unpack(ARGV[1]))
local present = redis.call('GET', key)
if what == 'acquire' then
  if present and present ~= holder then return math.max(redis.call('PTTL', key), 1) end
  redis.call('SET', key, holder, 'PX', expires)
  return 0
end
if present ~= holder then return 0 end
if what == 'renew' then redis.call('SET', key, holder, 'PX', expires) else redis.call('DEL', key) end
return 1
