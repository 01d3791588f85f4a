-- The body is sent: nothing of the chord stays but the mark, which keeps late duplicates out.
local key, claimant, expires = unpack(cmsgpack.unpack(ARGV[1]))
if redis.call('GET', key .. '.c') ~= claimant then return 0 end
redis.call('DEL', key .. '.j', key .. '.t', key .. '.s', key .. '.d', key .. '.longshore')
redis.call('SET', key .. '.c', 'done', 'EX', expires)
return 1
