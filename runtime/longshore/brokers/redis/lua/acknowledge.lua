-- Remove claims before their tasks start, all or none; the answer is how many are not the owner's any more.
local owner, groups = unpack(cmsgpack.unpack(ARGV[1]))
local lost = 0
for _, group in ipairs(groups) do
  for _, token in ipairs(group[2]) do
    lost = lost + 1 - redis.call('HEXISTS', own(group[1], 'held:' .. owner), token)
  end
end
if lost > 0 then return lost end
for _, group in ipairs(groups) do redis.call('HDEL', own(group[1], 'held:' .. owner), unpack(group[2])) end
return 0
