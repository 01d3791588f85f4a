-- Turns of a rate (the generic cell rate algorithm), all in microseconds. The key holds the last turn that was taken, so
-- that a rate that changed counts from there.
local key, interval, count, horizon = unpack(cmsgpack.unpack(ARGV[1]))
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local turn = math.max(tonumber(redis.call('GET', key) or 0) + interval, now)
if turn - now > horizon then return {turn - now, 0} end
local last = turn + interval * (count - 1)
redis.call('SET', key, string.format('%.0f', last), 'PX', math.ceil((last + interval - now) / 1000) + 1000)
return {turn - now, 1}
