-- A process ended: its claims go back at once. The tasks that it was running, by their ids, count as started.
-- Its lease stays until it is over: a blocking move of its socket may still be served, and the sweep looks into the inbox.
local owner, queues, started = unpack(cmsgpack.unpack(ARGV[1]))
local now = server_now()
local released = 0
begin(queues[1])

local function id_of(envelope)
  local readable, message = pcall(cjson.decode, envelope)
  if not readable or type(message) ~= 'table' then return nil end
  local headers, properties = message.headers, message.properties
  if type(headers) == 'table' and headers.id then return headers.id end
  return type(properties) == 'table' and properties.correlation_id or nil
end

local function is_started(envelope)
  for _, id in ipairs(started) do
    if string.find(envelope, id, 1, true) and id_of(envelope) == id then return true end
  end
  return false
end

for _, queue in ipairs(queues) do
  released = released + empty_inbox(queue, owner)
  for _, entry in ipairs(held_by(queue, owner)) do
    local how = is_started(entry.envelope) and 'counted' or 'uncounted'
    give_back(queue, entry.claim, entry.envelope, how, now)
    released = released + 1
  end
  redis.call('DEL', own(queue, 'held:' .. owner))
end
return released
