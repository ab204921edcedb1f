-- Gives leases back that were not used. KEYS: the leases; ARGV: 1 the token that took them
for _, lease in ipairs(KEYS) do
    if redis.pcall('GET', lease) == ARGV[1] then
        redis.call('DEL', lease)
    end
end
return redis.status_reply('OK')
