-- Stores predictions unless a newer one is there already.
--
-- KEYS  generation of the organization, generation of the kind, then for each prediction its key and its lease
-- ARGV  1 lease token of a reader who fills a gap, '' for a writer who knows better
--       2 the generations that the reader saw when it took its lease (16 bytes), '' for a writer
--       3 '1' to add predictions that are not there, '0' to replace only
--       4 lifetime of the generations in milliseconds; 5, 6 new generations, used where there are none
--       then for each prediction: the fixed part of its header, its body, milliseconds until Redis drops it, and
--       bytes 26 to 33 of a value there that may be replaced whatever it says, as nobody can decode or believes it any
--       more ('' none)
-- Returns for each prediction 1 stored, 2 a newer one is there, 3 no longer wanted (invalidated, or the lease is
--       lost), 4 the key belongs to another application, 5 nothing to replace

local function text(key)
    local value = redis.pcall('GET', key)
    if type(value) == 'table' then
        return nil, true
    end
    return value or nil, false
end

local function generation(key, fresh)
    local value = redis.call('GET', key)
    if value and #value == 8 then
        return value
    end
    redis.call('SET', key, fresh, 'PX', ARGV[4])
    return fresh
end

-- Compares (available_at, recorded_at), 16 big-endian bytes; numbers of 64 bits would lose digits in Lua.
local function is_older(one, other)
    for position = 3, 18 do
        local a, b = string.byte(one, position), string.byte(other, position)
        if a ~= b then
            return a < b
        end
    end
    return false
end

local token = ARGV[1]
local generations
if token == '' then
    generations = generation(KEYS[1], ARGV[5]) .. generation(KEYS[2], ARGV[6])
else
    generations = (text(KEYS[1]) or '') .. (text(KEYS[2]) or '')
end

local now = redis.call('TIME')
local stamp = struct.pack('>I4I4', tonumber(now[1]), tonumber(now[2])) .. generations
local outcomes = {}

for index = 1, (#KEYS - 2) / 2 do
    local key, lease = KEYS[index * 2 + 1], KEYS[index * 2 + 2]
    local first = index * 4 + 3
    local fixed, body, milliseconds, replaceable = ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3]
    local held, foreign = text(key)
    local outcome = 1
    if held and (#held < 50 or string.byte(held) ~= string.byte(fixed)
            or string.sub(held, 35, 50) ~= generations or string.sub(held, 27, 34) == replaceable) then
        held = nil
    end
    if foreign then
        outcome = 4
    elseif token ~= '' and (generations ~= ARGV[2] or text(lease) ~= token) then
        outcome = 3
    elseif held and is_older(fixed, held) then
        outcome = 2
    elseif not held and ARGV[3] == '0' then
        outcome = 5
    else
        redis.call('SET', key, fixed .. stamp .. body, 'PX', milliseconds)
    end
    if outcome ~= 3 then
        -- A reader who began before this write must not put what it read over it.
        redis.call('DEL', lease)
    end
    outcomes[index] = outcome
end

-- Last, because Redis asks whether it is full before the first write of a script only.
if token == '' then
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
end

return outcomes
