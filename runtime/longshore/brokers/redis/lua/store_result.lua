-- Store results; the answer is how many. `expires` in milliseconds, 0 for never.
local entries, expires = unpack(cmsgpack.unpack(ARGV[1]))
local stored = 0
for _, entry in ipairs(entries) do
  if store_result(entry[1], entry[2], expires) then stored = stored + 1 end
end
return stored
