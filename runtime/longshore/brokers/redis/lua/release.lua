-- A process ended: its claims go back at once. What is said of the tasks that it was running, {id, counted, sentence},
-- stays with them; a sentence becomes the first key of the envelope, whose text is left as it is.
-- Its lease stays until it is over: a blocking move of its socket may still be served, and the sweep looks into the inbox.
local owner, queues, said = unpack(cmsgpack.unpack(ARGV[1]))
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

local function said_of(envelope)
  for _, started in ipairs(said) do
    if string.find(envelope, started[1], 1, true) and id_of(envelope) == started[1] then return started end
  end
  return nil
end

local function with_sentence(envelope, sentence)
  if sentence == '' or string.sub(envelope, 1, 2) ~= '{"' then return envelope end
  return '{"longshore-sentence":' .. cjson.encode(sentence) .. ',' .. string.sub(envelope, 2)
end

local function release(queue, entry)
  local started = said_of(entry.envelope)
  if not started then return give_back(queue, entry.claim, entry.envelope, 'uncounted', now) end
  local how = (started[2] or started[3] ~= '') and 'counted' or 'uncounted'
  give_back(queue, entry.claim, with_sentence(entry.envelope, started[3]), how, now)
end

for _, queue in ipairs(queues) do
  released = released + empty_inbox(queue, owner)
  for _, entry in ipairs(held_by(queue, owner)) do
    release(queue, entry)
    released = released + 1
  end
  redis.call('DEL', own(queue, 'held:' .. owner))
end
return released
