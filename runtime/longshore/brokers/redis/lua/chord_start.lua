-- Note the sizes of chords, as Celery's clients do. A chord that is over stays over, unless it is started anew.
local chords, anew, expires = unpack(cmsgpack.unpack(ARGV[1]))
for _, chord in ipairs(chords) do
  local key, size = chord[1], chord[2]
  if anew then redis.call('DEL', key .. '.j', key .. '.t', key .. '.d', key .. '.c', key .. '.longshore') end
  if redis.call('GET', key .. '.c') ~= 'done' then
    redis.call('SET', key .. '.s', size)
    if expires > 0 then redis.call('EXPIRE', key .. '.s', expires) end
  end
end
