-- Await one more part, in Celery's counter; a set of ours remembers which, so that a task that runs again adds none.
local key, task_id, expires = unpack(cmsgpack.unpack(ARGV[1]))
if redis.call('SADD', key .. '.longshore', task_id) == 1 then redis.call('INCR', key .. '.t') end
if expires > 0 then
  for _, suffix in ipairs({'.t', '.longshore'}) do redis.call('EXPIRE', key .. suffix, expires) end
end
