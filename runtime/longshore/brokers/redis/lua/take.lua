-- Turns of a rate (the generic cell rate algorithm), all in microseconds: the key holds when the next turn is.
local key, interval, count, horizon = unpack(cmsgpack.unpack(ARGV[1]))
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local turn = math.max(tonumber(redis.call('GET', key) or 0), now)
if turn - now > horizon then return {turn - now, 0} end
local after = turn + interval * count
redis.call('SET', key, string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1000)
return {turn - now, 1}
