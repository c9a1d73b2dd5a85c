-- The walls around the scripts that a simulated TSP instrument is sent. Lua 5.1; it gets the unlimited libraries once,
-- and scripts get `shown`, which has no way back to them.
-- overdue: whether the message has had its time. step: instructions between two looks at the limits.
-- call_steps: what a call of the instrument's functions counts, in steps.
local step, steps_max, call_steps, kept_kb, text_max, matching_max, overdue = ...
local sethook, compile, within, collect = debug.sethook, loadstring, setfenv, collectgarbage
local error, pcall, rawset, select, setmetatable, type = error, pcall, rawset, select, setmetatable, type
local plain_tostring, byte, sub, rep, plain_find = tostring, string.byte, string.sub, string.rep, string.find
local ipairs, next, getmetatable, tonumber = ipairs, next, getmetatable, tonumber
local unpack, abs, max = unpack, math.abs, math.max
local insert, getn, sort = table.insert, table.getn, table.sort
local LETTERS_A_TRY = 100
local RESULTS_MAX, PLACE_MAX = 7000, 1e9 -- of `unpack`
local FATAL = {"stack overflow", "not enough memory", "error in error handling"}
local steps, stopped = 0, nil

-- Ends the message. `pcall` in a script does not hold it up.
local function stop(why)
  stopped = stopped or why
  error(stopped, 0)
end

local function require_room()
  if collect("count") > kept_kb then
    collect()
    if collect("count") > kept_kb then
      stop("out of memory")
    end
  end
end

local function watch()
  if stopped then
    error(stopped, 0)
  end
  steps = steps + 1
  if steps > steps_max then
    stop("the script never ends")
  end
  require_room()
  if overdue() then
    stop("the script takes too long")
  end
end

local function require_running()
  if stopped then
    error(stopped, 0)
  end
end

-- After a `pcall`. Where the stack or the memory ended, `watch` may have had no room either: that ends the message.
local function after(ok, problem, ...)
  require_running()
  if not ok and type(problem) == "string" then
    for _, fault in ipairs(FATAL) do
      if plain_find(problem, fault, 1, true) then
        stop(fault)
      end
    end
  end
  return ok, problem, ...
end

local function handled(handler, ok, ...)
  if ok then
    return true, ...
  end
  return false, handler(...)
end

-- How often a pattern may try anew: what repeats in it, and what has no fixed length. Reads it as Lua's own matcher does.
local function repetitions(pattern)
  local count, at = 0, 1
  while at <= #pattern do
    local letter = sub(pattern, at, at)
    if letter == "%" then
      local kind = sub(pattern, at + 1, at + 1)
      if kind == "b" then
        count, at = count + 1, at + 4
      else
        if plain_find("0123456789", kind, 1, true) and kind ~= "" then
          count = count + 1
        end
        at = at + 2
      end
    elseif letter == "[" then
      at = at + 1
      if sub(pattern, at, at) == "^" then
        at = at + 1
      end
      repeat
        at = at + (sub(pattern, at, at) == "%" and 2 or 1)
      until at > #pattern or sub(pattern, at, at) == "]"
      at = at + 1
    else
      if plain_find("*+-?", letter, 1, true) then
        count = count + 1
      end
      at = at + 1
    end
  end
  return count
end

-- Lua's matcher is C: nothing ends it, and a long pattern of `a?` overflows its stack.
-- An empty text counts as well: each repetition takes the matcher one call deeper. Each try may compare all letters.
local function require_cheap(text, pattern, plain)
  if (type(text) ~= "string" and type(text) ~= "number") or type(pattern) ~= "string" then
    return
  end
  local tries = (#plain_tostring(text) + 2) ^ (plain and 1 or repetitions(pattern) + 1)
  local work = max(tries, tries * #pattern / LETTERS_A_TRY)
  if #pattern > text_max or work > matching_max then
    error("the pattern has too much to try in so long a text", 0)
  end
  steps = steps + work / (2 * step)
end

local function matching(match)
  return function(text, pattern, ...)
    require_cheap(text, pattern)
    return match(text, pattern, ...)
  end
end

local function copied(library, names)
  local copy = {}
  for name in names:gmatch("%S+") do
    copy[name] = library[name]
  end
  return copy
end

local shown = copied(_G, "assert error getmetatable ipairs next pairs rawequal rawget rawset select setmetatable "
  .. "tonumber type unpack _VERSION")
shown._G = shown
shown.math = copied(math, "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min "
  .. "mod modf pi pow rad random randomseed sin sinh sqrt tan tanh")
shown.table = copied(table, "concat foreach foreachi getn insert maxn remove sort")
shown.string = copied(string, "byte char format len lower reverse sub upper")
for name in ("gmatch gsub match"):gmatch("%S+") do
  shown.string[name] = matching(string[name])
end
function shown.string.find(text, pattern, init, plain)
  require_cheap(text, pattern, plain)
  return plain_find(text, pattern, init, plain)
end
function shown.string.rep(text, count)
  if max(#plain_tostring(text), 1) * (tonumber(count) or 0) > text_max then
    error("the text is too long", 0)
  end
  return rep(text, count)
end
-- The library counts in 32 bits, and crashes on what is beyond them.
function shown.unpack(values, first, last)
  if type(values) ~= "table" then
    return unpack(values)
  end
  local from, to = tonumber(first) or 1, tonumber(last) or #values
  if not (abs(from) < PLACE_MAX and abs(to) < PLACE_MAX and to - from < RESULTS_MAX) then
    error("too many results to unpack", 0)
  end
  return unpack(values, from, to)
end
-- The library moves everything from the place on, also where nothing is.
function shown.table.insert(values, ...)
  if select("#", ...) == 2 and type(values) == "table" then
    local place = tonumber((...))
    if place ~= nil and not (place >= 1 and place <= getn(values) + 1) then
      error("insert: there is no such place", 0)
    end
  end
  return insert(values, ...)
end
-- Compared here, where the limits look on: each comparison of long texts takes its time.
local function is_less(one, other)
  return one < other
end
function shown.table.sort(values, less)
  return sort(values, less == nil and is_less or less)
end
function shown.pcall(act, ...)
  return after(pcall(act, ...))
end
-- The handler runs after the fault, not in it: inside a fault nothing would end it.
function shown.xpcall(act, handler)
  return handled(handler, after(pcall(act)))
end
-- Without the address in memory that Lua tells of tables and functions.
function shown.tostring(...)
  local value = ...
  if select("#", ...) > 0 and (type(value) == "table" or type(value) == "function") then
    local meta = getmetatable(value)
    if type(meta) ~= "table" or meta.__tostring == nil then
      return type(value)
    end
  end
  return plain_tostring(...)
end
function shown.collectgarbage()
  return 0
end
local of_texts = getmetatable("")
of_texts.__index, of_texts.__metatable = shown.string, false

-- The instrument's tables and functions. `call` is Python's, and returns: true and the results; false and why it is an
-- error; nil and why the message ends.
local function answered(ok, ...)
  if ok == nil then
    stop((...))
  elseif not ok then
    error((...), 0)
  end
  return ...
end

local function guarded(call)
  return function(...)
    require_running()
    require_room()
    steps = steps + call_steps
    if steps > steps_max then
      stop("the script never ends")
    end
    return answered(call(...))
  end
end

local numbers = setmetatable({}, {__mode = "k"})
function shown.rawset(values, name, value)
  if numbers[values] ~= nil then
    error("the tables of the instrument cannot be set like this", 0)
  end
  return rawset(values, name, value)
end

-- What a script does to the names of Lua and of the instrument lasts for its message: other clients need them.
local own = {}
local function keep(values)
  own[values] = {}
  for name, value in next, values do
    own[values][name] = value
  end
end
for _, values in ipairs({shown, shown.math, shown.table, shown.string}) do
  keep(values)
end
local function restore()
  setmetatable(shown, nil)
  for values, kept in next, own do
    for name, value in next, kept do
      rawset(values, name, value)
    end
  end
end

local tools = {}
tools.guarded = guarded
function tools.exposed(number, fixed, get, set)
  get, set = guarded(get), guarded(set)
  local made = setmetatable({}, {
    __index = function(_, name)
      local value = fixed[name]
      if value ~= nil then
        return value
      end
      return get(name)
    end,
    __newindex = function(_, name, value) set(name, value) end,
    __metatable = false,
  })
  numbers[made] = number
  return made
end
function tools.number(table)
  return numbers[table]
end
function tools.define(name, value)
  rawset(shown, name, value)
end
-- A name of the instrument's own.
function tools.define_own(name, value)
  rawset(shown, name, value)
  own[shown][name] = value
end
function tools.script(run)
  return setmetatable({run = run}, {__call = run})
end
function tools.compiled(source, name)
  if byte(source) == 27 then
    return "compiled code is not taken"
  end
  local run, problem = compile(source, name)
  if run == nil then
    return problem
  end
  return nil, within(run, shown)
end
-- Returns why it ended early, and whether it left so much behind that the next message may have no room.
function tools.run(act)
  steps, stopped = 0, nil
  sethook(watch, "", step)
  local ok, problem = pcall(act)
  sethook()
  restore()
  if ok then
    problem = nil
  elseif type(problem) ~= "string" then
    problem = "an error that is a " .. type(problem)
  end
  if collect("count") > kept_kb / 2 then
    collect()
  end
  return problem, collect("count") > kept_kb / 2
end
local globals = _G
for name in next, globals do
  globals[name] = nil
end
return tools
