-- Count different members; each one prolongs them all. `expires` in seconds.
local key, member, expires = unpack(cmsgpack.unpack(ARGV[1]))
redis.call('SADD', key, member)
redis.call('EXPIRE', key, expires)
return redis.call('SCARD', key)
