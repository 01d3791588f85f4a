-- Await more parts.
local key, by, expires = unpack(cmsgpack.unpack(ARGV[1]))
redis.call('INCRBY', key .. '.t', by)
if expires > 0 then redis.call('EXPIRE', key .. '.t', expires) end
