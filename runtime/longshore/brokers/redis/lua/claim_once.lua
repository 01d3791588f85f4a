-- Give a mark to the first who asks, for a while; 1 when it is the asker's.
local key, holder, expires = unpack(cmsgpack.unpack(ARGV[1]))
local present = redis.call('GET', key)
if present then return present == holder and 1 or 0 end
redis.call('SET', key, holder, 'PX', expires)
return 1
