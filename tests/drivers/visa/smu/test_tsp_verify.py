"""The write-verify of a 2600B: its Lua decides as Python does, to the last bit, and writes real cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eapu_drivers.simulated.instruments.server import Mishap
from eapu_drivers.simulated.instruments.sim_keithley2600b import SimulatedKeithley2600B
from eapu_drivers.visa.smu.contract import Setup
from eapu_drivers.visa.smu.keithley2600b import Keithley2600B
from eapu_drivers.visa.smu.tsp_verify import lua_fields, recipe_fields
from eapu_drivers.visa.transport import VisaTransport
from lupa import lua51
from stations import SmallStation

from eapu_hil.base.loading import load_model
from eapu_hil.hal import CellStatus, InstrumentError
from eapu_hil.hal.recipe import Recipe
from eapu_hil.hal.writeverify import Action, Decision, History, decide

READ, PULSE = Setup(0.25, 1e-4, 0.1), Setup(3.5, 2e-3, 0.1)
STATES, WALKS = 100_000, 4_000
HISTORY = {
    "first": "g_first_S",
    "direction": "direction",
    "gate": "gate_v",
    "set_amplitude": "set_amplitude_v",
    "reset_amplitude": "reset_amplitude_v",
    "pulses": "pulses",
    "flips": "flips",
    "at_cap": "at_cap",
    "confirming": "confirming",
    "moved": "moved",
    "probed": "probed",
}


@pytest.fixture(scope="module")
def lua() -> Any:
    """A Lua with the script's functions, and without an instrument."""
    runtime = lua51.LuaRuntime(unpack_returned_tuples=True)
    runtime.execute(resources.files("eapu_drivers.visa.smu").joinpath("eapu.lua").read_text())
    return runtime


@pytest.fixture
def recipe() -> Recipe:
    return load_model(Recipe, "rram_180nm_ms", (), "recipes")


def variants(recipe: Recipe) -> list[Recipe]:
    """Recipes whose caps and switches are met soon."""
    tight = {"pulses_max": 5, "flips_max": 1, "pulses_at_cap_max": 2}
    return [
        recipe,
        recipe.model_copy(update=tight),
        recipe.model_copy(update={"rewrite_in_band": True}),
        recipe.model_copy(update={"band_S": 4e-6, **tight}),
    ]


def as_lua(lua: Any, recipe: Recipe) -> Any:
    return lua.eval(f"{{{lua_fields(recipe_fields(recipe, READ, PULSE, 4.0))}}}")


def random_states(recipe: Recipe, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, History]:
    """Targets, readings and histories, many of them at the edges that decide."""
    target_S = rng.uniform(recipe.g_min_S, recipe.g_max_S, n)
    offsets_S = np.array([0.0, 0.5, 1.0, -0.5, -1.0]) * recipe.band_S
    near_S = target_S + rng.choice(offsets_S, n)
    read_S = np.where(rng.random(n) < 0.3, near_S, target_S + rng.normal(0, 3 * recipe.band_S, n))
    gates_v = rng.choice([0.0, recipe.set.gate.start_v, recipe.set.gate.stop_v, 1.2], n) + rng.choice(
        [0, 0.013], n
    )
    history = History(
        g_first_S=read_S + rng.choice([0.0, recipe.band_S, -recipe.band_S, 5e-6], n),
        direction=rng.integers(-1, 2, n),
        gate_v=gates_v,
        set_amplitude_v=rng.choice([recipe.set.amplitude.start_v, recipe.set.amplitude.stop_v, 1.45], n),
        reset_amplitude_v=rng.choice([recipe.reset.amplitude.start_v, recipe.reset.amplitude.stop_v, 1.0], n),
        pulses=rng.integers(0, recipe.pulses_max + 2, n),
        flips=rng.integers(0, recipe.flips_max + 2, n),
        at_cap=rng.integers(0, recipe.pulses_at_cap_max + 2, n),
        confirming=rng.random(n) < 0.3,
        moved=rng.random(n) < 0.5,
        probed=rng.random(n) < 0.3,
    )
    return target_S, read_S, history


def of_lua(lua: Any, history: History, index: int) -> Any:
    return lua.table_from({name: getattr(history, ours)[index].item() for name, ours in HISTORY.items()})


def require_equal(decision: Decision, after: History, index: int, answer: Any, state: Any) -> None:
    action, amplitude_v, gate_v, status = answer
    assert action == decision.action[index]
    assert status == decision.status[index]
    if abs(int(action)) == 1:
        assert amplitude_v == decision.amplitude_v[index]
        assert gate_v == decision.gate_v[index]
    if action == Action.STOP:
        return  # nothing is remembered of a cell that is done
    for name, ours in HISTORY.items():
        assert state[name] == getattr(after, ours)[index], name


def test_single_decisions_are_equal(lua: Any, recipe: Recipe) -> None:
    rng = np.random.default_rng(1)
    act: Callable[..., Any] = lua.globals().eapu_decide
    seen: set[tuple[int, int]] = set()
    for variant in variants(recipe):
        n = STATES // 4
        target_S, read_S, history = random_states(variant, n, rng)
        decision, after = decide(variant, target_S, read_S, history)
        theirs = as_lua(lua, variant)
        for index in range(n):
            state = of_lua(lua, history, index)
            answer = act(theirs, target_S[index].item(), read_S[index].item(), state)
            require_equal(decision, after, index, answer, state)
            seen.add((int(decision.action[index]), int(decision.status[index])))
    # every way to go on and every way to stop was met
    assert {action for action, _ in seen} == {int(action) for action in Action}
    stops = {CellStatus.OK, CellStatus.LIMIT, CellStatus.STUCK, CellStatus.NOT_CONVERGED}
    assert {status for action, status in seen if action == Action.STOP} == stops


def test_whole_walks_are_equal(lua: Any, recipe: Recipe) -> None:
    """Cells that answer each pulse at random, from the first reading until each has stopped."""
    rng = np.random.default_rng(2)
    act, start = lua.globals().eapu_decide, lua.globals().eapu_start
    for variant in variants(recipe):
        n = WALKS // 4
        target_S = rng.uniform(2e-6, 38e-6, n)
        read_S = rng.uniform(0.5e-6, 50e-6, n)
        dead = rng.random(n) < 0.1
        history, theirs = History.start(read_S), as_lua(lua, variant)
        states = [start(value.item()) for value in read_S]
        alive = np.arange(n)
        for _ in range(400):
            decision, history = decide(variant, target_S[alive], read_S[alive], history)
            for place, cell in enumerate(alive):
                answer = act(theirs, target_S[cell].item(), read_S[cell].item(), states[cell])
                require_equal(decision, history, place, answer, states[cell])
            keep = decision.action != Action.STOP
            alive, history = alive[keep], history.take(np.flatnonzero(keep))
            if not alive.size:
                break
            step_S = np.abs(rng.normal(0, 4e-6, alive.size)) * decision.action[keep]
            read_S[alive] = np.where(dead[alive], read_S[alive], np.maximum(read_S[alive] + step_S, 1e-7))
        assert not alive.size


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    station = SmallStation(
        tmp_path, "rram_180nm", **{"faults.stuck_fraction": 0.0, "relaxation.enabled": False}
    )
    station.array._cells.formed[:] = True
    device = SimulatedKeithley2600B(station.probe, ["source", "gate"])
    with station.serving(device) as server, VisaTransport(server.resource) as line:
        source, gate = Keithley2600B(line, "a"), Keithley2600B(line, "b")
        source.set_up(READ)
        gate.set_up(Setup(5.0, 1e-6, 1.0))
        source.output(True)
        gate.output(True)
        yield station, source, gate, server


def test_a_cell_is_written_by_one_message(bench: Any, recipe: Recipe) -> None:
    station, source, gate, server = bench
    verifier = source.verifier(gate)
    verifier.write(10e-6, recipe, READ, PULSE, 4.0)
    for target_S in (30e-6, 5e-6, 20e-6):
        before = server.messages
        done = verifier.write(target_S, recipe, READ, PULSE, 4.0)
        assert server.messages - before == 1
        assert done.status == CellStatus.OK
        assert abs(done.g_after_S - target_S) <= recipe.band_S
        assert abs(station.g_S() - target_S) < 2 * recipe.band_S
        assert done.pulses >= 1
        assert done.reads >= done.pulses + 1
        assert done.energy_j > 0
    assert source.ready == READ
    assert source.sweep(np.array([0.2])).current_a[0] < 1e-6  # the gate is down again


def test_another_recipe_is_sent_again(bench: Any, recipe: Recipe) -> None:
    _, source, gate, _ = bench
    verifier = source.verifier(gate)
    verifier.write(10e-6, recipe, READ, PULSE, 4.0)
    once = recipe.model_copy(update={"pulses_max": 1})
    assert verifier.write(35e-6, once, READ, PULSE, 4.0).pulses <= 1


def test_the_compliance_of_pulses_is_a_status(bench: Any, recipe: Recipe) -> None:
    station, source, gate, _ = bench
    station.probe.faults.shorts[0, 0] = 1000.0
    done = source.verifier(gate).write(10e-6, recipe, READ, replace(PULSE, i_limit_a=5e-4), 4.0)
    assert done.status == CellStatus.COMPLIANCE
    assert done.pulses == 1


def test_an_output_that_trips_is_an_error(bench: Any, recipe: Recipe) -> None:
    _, source, gate, server = bench
    verifier = source.verifier(gate)
    verifier.write(10e-6, recipe, READ, PULSE, 4.0)
    server.mishaps.append(Mishap("trip"))
    with pytest.raises(InstrumentError, match="an output has gone off, or the gate leaks"):
        verifier.write(30e-6, recipe, READ, PULSE, 4.0)


def test_a_gate_that_leaks_is_an_error_and_nothing_is_pulsed(bench: Any, recipe: Recipe) -> None:
    station, source, gate, _ = bench
    station.probe.faults.gate_shorts[0] = 1e5
    before_S = station.g_S()
    with pytest.raises(InstrumentError, match="an output has gone off, or the gate leaks"):
        source.verifier(gate).write(30e-6, recipe, READ, PULSE, 4.0)
    assert station.g_S() == before_S


def test_a_width_that_the_timer_does_not_take_is_no_pulse(bench: Any, recipe: Recipe) -> None:
    """It would keep the width before it: nothing is triggered, and the error is raised."""
    station, source, gate, _ = bench
    verifier = source.verifier(gate)
    verifier.write(10e-6, recipe, READ, PULSE, 4.0)
    before_S = station.g_S()
    short = recipe.model_copy(update={"set": recipe.set.model_copy(update={"width_s": 1e-6})})
    with pytest.raises(InstrumentError, match="error 1102, 'Parameter too small'"):
        verifier.write(30e-6, short, READ, PULSE, 4.0)
    assert station.g_S() == before_S


@pytest.mark.parametrize("which", ["read", "pulse"])
def test_a_limit_that_was_not_taken_is_no_pulse(bench: Any, recipe: Recipe, which: str) -> None:
    station, source, gate, server = bench
    before_S = station.g_S()
    limits_a = server.device._first.source
    settings = type(limits_a)._changed
    wrong_a = READ.i_limit_a if which == "read" else PULSE.i_limit_a

    def clamped(table: Any, name: str) -> None:
        """An instrument that takes another limit than it was told, and says nothing."""
        if name == "limiti" and table._values[name] == wrong_a:
            table._values[name] = 10 * wrong_a
        settings(table, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(limits_a), "_changed", clamped)
        with pytest.raises(InstrumentError, match="a limit was not taken"):
            source.verifier(gate).write(30e-6, recipe, READ, PULSE, 4.0)
    assert station.g_S() == before_S


def test_time_runs_out(bench: Any, recipe: Recipe) -> None:
    _, source, gate, _ = bench
    slow = recipe.model_copy(update={"time_max_s": 1e-3})
    done = source.verifier(gate).write(35e-6, slow, READ, PULSE, 4.0)
    assert done.status == CellStatus.NOT_CONVERGED
    assert done.reads == 2


def test_only_the_other_channel_of_the_same_instrument_serves(bench: Any) -> None:
    station, source, _, _ = bench
    with (
        station.serving(SimulatedKeithley2600B(station.probe, ["x", "y"])) as server,
        VisaTransport(server.resource) as line,
    ):
        assert source.verifier(Keithley2600B(line, "b")) is None
