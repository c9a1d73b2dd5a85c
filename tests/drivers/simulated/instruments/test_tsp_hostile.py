"""Scripts from strangers: nothing of Python is in reach of them, and none of them stops the instrument for others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from eapu_drivers.simulated.instruments import sandbox
from eapu_drivers.simulated.instruments.sim_keithley707b import SimulatedKeithley707B
from eapu_drivers.simulated.instruments.sim_keithley2600b import SimulatedKeithley2600B
from eapu_drivers.simulated.instruments.tsp import TspDevice
from stations import SmallStation

# Visits all that scripts can get at: names, contents of tables, metatables, what functions return when they are called
# without and with arguments, and the errors that they raise; prints what is none of Lua's plain kinds, and what the
# instrument has and a script cannot get.
WALK = """
local plain = {["nil"] = true, number = true, string = true, boolean = true}
local skipped = {[print] = true, [printnumber] = true, [printbuffer] = true, [error] = true, [collectgarbage] = true}
local seen, count, visit = {}, 0, nil
local names = {"__globals__", "__class__", "__dict__", "__init__", "__self__", "__func__", "__code__", "_channel",
  "_values", "_errors", "_kept", "_lua", "items", "python object", "__index", "__metatable", NAMES}
local function called(act, path, ...)
  local results = {pcall(act, ...)}
  for k = 2, table.maxn(results) do visit(results[k], path .. "()") end
end
function visit(value, path)
  local kind = type(value)
  count = count + 1
  if kind == "string" and value:find("nothing that a script can have", 1, true) then print("KEPT BACK", path) end
  if plain[kind] then return end
  if kind ~= "table" and kind ~= "function" then print("REACHED", path, kind) return end
  if seen[value] or #path > 120 then return end
  seen[value] = true
  local meta = getmetatable(value)
  if type(meta) == "table" then visit(meta, path .. "<meta>") end
  if kind == "table" then
    for key, inner in pairs(value) do
      visit(key, path .. "<key>")
      visit(inner, path .. "." .. tostring(key))
    end
    for _, name in ipairs(names) do
      visit(select(2, pcall(function() return value[name] end)), path .. "." .. name)
    end
    visit(select(2, pcall(function() value._channel = {} end)), path .. "=")
    visit(select(2, pcall(function() value[print] = print end)), path .. "=")
    visit(select(2, pcall(value)), path .. "()")
  elseif not skipped[value] then
    called(value, path)
    called(value, path, 1)
    called(value, path, "smua")
    called(value, path, {})
    called(value, path, print, print)
    called(value, path, smua, 1)
  end
end
for name, value in pairs(_G) do visit(value, name) end
visit(getmetatable(""), "<text>")
for _, name in ipairs(names) do visit(_G[name], name) end
print("visited", count)
"""


@pytest.fixture(params=["2600b", "707b"])
def instrument(request: pytest.FixtureRequest, station: SmallStation) -> TspDevice:
    if request.param == "707b":
        return SimulatedKeithley707B(station.probe)
    return SimulatedKeithley2600B(station.probe, ["source", "gate"])


def errors(device: TspDevice) -> list[str]:
    found = []
    while (error := device.errors.take()) is not None:
        found.append(f"{error[0]} {error[1]}")
    return found


def names() -> str:
    words = """smua smub source measure trigger nvbuffer1 nvbuffer2 readings n compliance rangev rangei levelv timer
    status measurement instrument condition localnode linefreq model display beeper reset channel errorqueue
    count next clear format script delete t arm endpulse endsweep stimulus makebuffer iv listv delay print
    string math table"""
    return ", ".join(f'"{word}"' for word in words.split())


def run(device: TspDevice, script: str) -> bytes:
    lines = ["loadandrunscript", *script.splitlines(), "endscript"]
    return b"".join(device.handle(line) for line in lines)


def test_nothing_of_python_is_in_reach(instrument: TspDevice) -> None:
    answer = run(instrument, WALK.replace("NAMES", names()))
    assert b"REACHED" not in answer
    assert b"KEPT BACK" not in answer
    assert float(answer.split(b"\t")[-1]) > 1000, errors(instrument)


ESCAPES = [
    "print(delay.__globals__['__builtins__']['__import__']('os').system('touch WITNESS'))",
    "print(delay.__class__)",
    'python.eval(\'open("WITNESS", "w")\')',
    "print(python.builtins)",
    "local ok, e = pcall(delay, 'x') e.__class__.__base__.__subclasses__()",
    "local ok, e = pcall(delay, {}) e.__traceback__.x = 1",
    "errorqueue.next.__func__.__globals__.clear()",
    "smua._channel.probe = 1",
    "print(smua._errors)",
    "print(smua.source._values)",
    "string.dump(print)",
    "loadstring('\\27Lua')()",
    "load(function() return nil end)",
    "debug.sethook()",
    "debug.getregistry()",
    "io.open('WITNESS', 'w')",
    "os.execute('touch WITNESS')",
    "require('os')",
    "package.loadlib('x', 'y')",
    "dofile('WITNESS')",
    "getfenv(print).x = 1",
    "setfenv(print, {})",
    "newproxy(true)",
    "coroutine.wrap(function() end)()",
    "setmetatable(smua, {})",
    "getmetatable('').__index = nil",
    "smua.measure.i({_take = function(_, values) values.append(1) end})",
    "channel.close({split = function() end})",
    "smua.trigger.source.listv({print})",
    "smua.trigger.source.linearv(0, 1, 1e9)",
]


@pytest.mark.parametrize("script", ESCAPES)
def test_ways_out_are_errors_in_the_queue(
    script: str, station: SmallStation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    device = SimulatedKeithley2600B(station.probe, ["source", "gate"])
    device.handle(script)
    assert not (tmp_path / "WITNESS").exists()
    assert len(errors(device)) == 1
    assert device.handle("print(localnode.model)") == b"2636B\n"


@contextmanager
def goes_on(device: TspDevice) -> Iterator[None]:
    device.handle("answer = 42 smua.source.levelv = 0.5")
    yield
    assert device.handle("print(localnode.model, smua.source.levelv)") == b"2636B\t5.00000e-01\n"
    assert errors(device) == []


# Nested so deep that what looks at the limits has no room on the stack of C.
DEEP = """local t, m = {}, {} t = setmetatable({}, m)
m.__index = function(t, depth)
  if depth == 0 then while true do pcall(function() local x = t[-1] end) end end
  return t[depth - 1]
end
print(t[170])"""
DEEPER = """local function last() while true do end end
local key, value = {}, last
for k = 1, 250 do local outer = {[key] = value} key, value = outer, table.foreach end
while true do pcall(table.foreach, key, value) end"""
# Comparing texts that differ at their end.
SORT = """local x = string.rep('x', 1e6) local a, b, t = x .. 'a', x .. 'b', {}
for k = 1, 1e5 do t[k] = k % 2 == 0 and a or b end table.sort(t)"""
LIMITS = [
    ("while true do end", "never ends"),
    ("while true do pcall(function() while true do end end) end", "never ends"),
    ("local function f() while true do pcall(f) end end f()", "stack overflow"),
    (DEEP, "stack overflow"),
    (DEEPER, "stack overflow"),
    ("xpcall(function() while true do end end, function() while true do end end)", "never ends"),
    ("local m = setmetatable({}, {__index = function() while true do end end}) print(m.x)", "never ends"),
    ("local m = setmetatable({}, {__tostring = function() while true do end end}) tostring(m)", "never ends"),
    ("error(setmetatable({}, {__tostring = function() while true do end end}))", "a table"),
    ("local x = string.rep('x', 1e9)", "too long"),
    ("local x = ('x'):rep(1e9)", "too long"),
    ("local x = 'xxxxxxxx' while true do x = x .. x end", "memory"),
    ("local t = {} while true do t[#t + 1] = {} end", "memory"),
    ("local t = {} while true do t[#t + 1] = pcall end", "memory"),
    ("t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) end", "memory"),
    ("local function f() return 1 + f() end f()", "stack overflow"),
    ("local function f() return f() end f()", "never ends"),
    ("local s = string.rep('a', 30000) string.find(s, '.-.-.-.-.-b')", "pattern"),
    ("local s = string.rep('a', 100000) string.find(s, string.rep('a?', 100000))", "pattern"),
    ("local s = string.rep('a', 3000) s:gsub('%b[]a*a*a*a*]', '')", "pattern"),
    ("local s = string.rep('a', 3000) s:match('[[]*a-a-a-a-a-b')", "pattern"),
    ("while true do string.find(string.rep('a', 1000), 'a-b') end", "never ends"),
    ("while true do print(string.rep('x', 1e6)) end", "answer is too long"),
    ("error(string.rep('x', 1e6))", "xxx"),
    ("error()", "a nil"),
    ("while true do smua.makebuffer(1) end", "buffers"),
    ("while true do delay(0) end", "too long"),
    ("delay(1/0)", "delay"),
    ("delay(0/0)", "delay"),
    ("delay(1e300)", "delay"),
    ("printbuffer(1, 1e9, smua.nvbuffer1.readings)", "number"),
    ("printbuffer(1, 1e9)", "readings"),
    ("print(smua.nvbuffer1.readings[0])", "number"),
    ("print(smua.nvbuffer1.readings[-1])", "number"),
    ("smua.source.levelv = 0/0", "out of range"),
    ("smua.source.levelv = 1/0", "too big"),
    ("smua.source.levelv = {}", "ScriptTable"),
    ("local t = {} for k = 1, 2e5 do t[k] = 0 end smua.trigger.source.listv(t)", "values"),
    ("localnode.reset = print", "cannot be given"),
    ("localnode.reset = 1", "cannot be set"),
    ("unpack({}, 1, 1e8)", "too many"),
    ("unpack({}, -2147483648, 2147483647)", "too many"),
    ("unpack({}, '-2147483648', '2147483647')", "too many"),
    ("unpack({}, 1e300, 5)", "too many"),
    ("unpack({}, 0/0, 0/0)", "too many"),
    ("table.insert({}, -2147483648, 1)", "no such place"),
    ("table.insert({}, '-2147483648', 1)", "no such place"),
    ("string.rep('', 2147483647)", "too long"),
    ("string.rep('x', '2000000000')", "too long"),
    ("string.find('', string.rep('a*', 4e5))", "pattern"),
    ("string.find('', string.rep('a-', 4e5))", "pattern"),
    ("string.gsub('', string.rep('a*', 4e5), 'x')", "pattern"),
    ("string.find(string.rep('a', 1e6), string.rep('a', 9e5) .. 'b', 1, true)", "pattern"),
    ("string.find(string.rep('a', 1e6), string.rep('a', 9e5) .. 'b')", "pattern"),
    ("string.find(string.rep('a', 1e6), string.rep('a', 9e5) .. '.b')", "pattern"),
    ("string.find(string.rep('a', 1e6), '[' .. string.rep('b', 9e5) .. ']')", "pattern"),
    (SORT, "too long"),
    ("rawset(smua, 'source', nil)", "cannot be set"),
    ("table.concat(setmetatable({}, {__index = print}), 'x', 1, 1e9)", "concat"),
    ("(" * 300 + "1" + ")" * 300, "Syntax"),
    ("x = " + "{" * 300 + "}" * 300, "Syntax"),
    ("string.format('%99999d', 1)", "format"),
    ("print(('x'):rep(1e6):rep(60))", "too long"),
]


@pytest.mark.parametrize(("script", "said"), LIMITS)
def test_a_script_that_takes_too_much_is_ended_and_the_next_one_is_run(
    script: str, said: str, station: SmallStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said == "too long":
        monkeypatch.setattr(sandbox, "TIME_MAX_s", 0.3)
    device = SimulatedKeithley2600B(station.probe, ["source", "gate"])
    with goes_on(device):
        device.handle(script)
        found = errors(device)
        assert said in " ".join(found)
        assert all(len(one) < 300 for one in found)


def test_what_fills_the_memory_for_good_is_deleted(station: SmallStation) -> None:
    device = SimulatedKeithley2600B(station.probe, ["source", "gate"])
    with goes_on(device):
        device.handle("kept = {} while true do kept[#kept + 1] = {} end")
        assert [one[:4] for one in errors(device)] == ["-286", "-225"]
        assert device.handle("print(kept)") == b"nil\n"


def test_scripts_cannot_take_functions_from_those_of_others_for_good(station: SmallStation) -> None:
    """As on the instrument, names may be set anew; the walls do not lean on them."""
    device = SimulatedKeithley2600B(station.probe, ["source", "gate"])
    device.handle("error = nil pcall = nil type = nil setmetatable(_G, {__index = error}) string.rep = nil")
    device.handle("debug = {traceback = function() while true do end end}")
    device.handle("while true do end")
    assert "never ends" in " ".join(errors(device))


WRECKS = [
    "print = nil",
    "_G = nil",
    "local all = _G for name in pairs(all) do all[name] = nil end",
    "local all = _G for name in pairs(all) do all[name] = function() while true do end end end",
    "for _, part in ipairs({string, math, table}) do for name in pairs(part) do part[name] = nil end end",
    "setmetatable(_G, {__index = function() while true do end end})",
    "setmetatable(_G, {__newindex = function() while true do end end})",
    "rawset(_G, 'smua', smub)",
    "pcall(rawset, smua, 'source', {levelv = 7})",
    "script.delete('print')",
]


@pytest.mark.parametrize("script", WRECKS)
def test_a_script_leaves_the_names_of_the_instrument_to_other_clients(
    script: str, station: SmallStation
) -> None:
    device = SimulatedKeithley2600B(station.probe, ["source", "gate"])
    with goes_on(device):
        device.handle(script)
        assert (
            device.handle("print(string.rep('ab', 2), math.floor(1.5), unknown)")
            == b"abab\t1.00000e+00\tnil\n"
        )


def test_a_script_without_end_is_not_kept(station: SmallStation) -> None:
    device = SimulatedKeithley2600B(station.probe, ["source", "gate"])
    device.handle("loadscript long")
    for _ in range(40):
        device.handle("x" * 50_000)
    assert "too long" in errors(device)[0]
