-- Store results as Celery does, SETEX and PUBLISH; a stored SUCCESS stays. `expires` in milliseconds, 0 for never.
local entries, expires = unpack(cmsgpack.unpack(ARGV[1]))

local function is_success(text)
  if string.find(text, '^{"status": ?"SUCCESS"') then return true end
  local readable, meta = pcall(cjson.decode, text)
  return readable and type(meta) == 'table' and meta.status == 'SUCCESS'
end

local stored = 0
for _, entry in ipairs(entries) do
  local key, text = entry[1], entry[2]
  local earlier = redis.call('GET', key)
  if not (earlier and is_success(earlier)) then
    if expires > 0 then redis.call('SET', key, text, 'PX', expires) else redis.call('SET', key, text) end
    redis.call('PUBLISH', key, text)
    stored = stored + 1
  end
end
return stored
