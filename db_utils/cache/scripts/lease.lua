-- Asks who may read predictions from the database: one client for each of them.
--
-- KEYS  generation of the organization, generation of the kind, then for each prediction its key and its lease
-- ARGV  1 the client's token; 2 lifetime of a lease in milliseconds
--       3 lifetime of the generations in milliseconds; 4, 5 new generations, used where there are none
--       then for each prediction bytes 26 to 33 of the value that the client saw, '' where it saw none
-- Returns the generations (16 bytes), then for each prediction 1 the lease is the client's, 0 someone else has
--       it, or the value that was stored since the client looked

local function text(key)
    local value = redis.pcall('GET', key)
    if type(value) == 'table' then
        return nil
    end
    return value or nil
end

local function generation(key, fresh)
    local value = redis.call('GET', key)
    if value and #value == 8 then
        return value
    end
    redis.call('SET', key, fresh, 'PX', ARGV[3])
    return fresh
end

local generations = generation(KEYS[1], ARGV[4]) .. generation(KEYS[2], ARGV[5])
local replies = { generations }

for index = 1, (#KEYS - 2) / 2 do
    local key, lease = KEYS[index * 2 + 1], KEYS[index * 2 + 2]
    local seen = ARGV[index + 5]
    local held = text(key)
    if held and #held >= 50 and string.byte(held) == 1 and string.sub(held, 35, 50) == generations
            and string.sub(held, 27, 34) ~= seen then
        replies[index + 1] = held
    elseif redis.call('SET', lease, ARGV[1], 'NX', 'PX', ARGV[2]) or text(lease) == ARGV[1] then
        replies[index + 1] = 1
    else
        replies[index + 1] = 0
    end
end

-- Last, because Redis asks whether it is full before the first write of a script only.
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])

return replies
