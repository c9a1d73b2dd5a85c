"""The trigger model of a simulated Keithley 2450: numbered blocks, carried out one after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from eapu_drivers.simulated.instruments.scpi import (
    ILLEGAL_VALUE,
    Act,
    ScpiError,
    boolean,
    choice,
    real,
    unquoted,
)
from eapu_drivers.simulated.instruments.sim_keithley2450_buffers import BUFFER
from eapu_drivers.simulated.instruments.sim_keithley2450_unit import Unit2450

_BLOCKS_MAX = 63
_STEPS_MAX = 1_000_000  # of a model that would not end
_FAILED = (2730, "Trigger model failed")
_INIT_IGNORED = (-213, "Init ignored")

_Block = Callable[[], int | None]  # carries it out; returns the block to go on with, None for the next


class TriggerModel2450:
    """Blocks that act on `unit`. A branch to block 0 ends the model."""

    def __init__(self, unit: Unit2450) -> None:
        self._unit = unit
        self.clear()

    def clear(self) -> None:
        """No blocks."""
        self._blocks: dict[int, _Block] = {}
        self._counters: dict[int, int] = {}
        self._places: dict[str, int] = {}
        self._once: set[int] = set()

    def commands(self) -> dict[str, Act]:
        """Those that define blocks, and start."""
        block = ":TRIGger:BLOCk"
        return {
            ":TRIGger:LOAD": self._load,
            ":TRIGger:STATe?": lambda: (
                f"{'IDLE;IDLE' if self._blocks else 'EMPTY;EMPTY'};{len(self._blocks)}"
            ),
            ":INITiate[:IMMediate]": self.run,
            f"{block}:BUFFer:CLEar": self._define_clear,
            f"{block}:CONFig:RECall": self._define_recall,
            f"{block}:CONFig:NEXT": partial(self._define_step, 1),
            f"{block}:CONFig:PREVious": partial(self._define_step, -1),
            f"{block}:SOURce:STATe": self._define_output,
            f"{block}:DELay:CONStant": self._define_delay,
            f"{block}:MEASure": self._define_measure,
            f"{block}:NOP": lambda number: self._put(number, lambda: None),
            f"{block}:NOTify": self._define_notify,
            f"{block}:BRANch:ALWays": lambda number, target: self._put(number, partial(int, target)),
            f"{block}:BRANch:COUNter": self._define_counter,
            f"{block}:BRANch:ONCE": self._define_once,
            f"{block}:BRANch:EVENt": self._define_event,
        }

    def run(self) -> None:
        """INIT, and all that follows."""
        if not self._blocks:
            raise ScpiError(_INIT_IGNORED)
        self._counters, self._places, self._once = {}, {}, set()
        at, last = 1, max(self._blocks)
        for _ in range(_STEPS_MAX):
            if not 1 <= at <= last:
                return
            act = self._blocks.get(at)
            if act is None:
                raise ScpiError(_FAILED)  # a number without a block
            target = act()
            at = at + 1 if target is None else target
        raise ScpiError(_FAILED)

    def sweep(self, name: str, first: int, delay_s: float, count: int, buffer: str, abort: bool) -> None:
        """The blocks of the sweep commands: output on, each entry of the list and a reading of it, output off."""
        self.clear()
        points = len(self._unit.list_named(name)) - first + 1
        listed, stored = f'"{name}"', f'"{buffer}"'
        self._define_clear("1", stored)
        self._define_recall("2", listed, str(first))
        self._define_output("3", "ON")
        self._put("4", lambda: 6)
        self._define_step(1, "5", listed)
        self._define_delay("6", str(delay_s))
        self._define_measure("7", stored)
        self._put("8", lambda: 11 if abort and self._unit.channel.limited else None)
        self._define_counter("9", str(points), "5")
        self._define_counter("10", str(count), "2")
        self._define_output("11", "OFF")

    def _put(self, number: str, act: _Block) -> None:
        self._blocks[round(real(number, 1, _BLOCKS_MAX))] = act

    def _load(self, name: str, *parameters: str) -> None:
        """Templates: Empty; SimpleLoop with count, delay, buffer."""
        wanted = unquoted(name).upper()
        if wanted == "EMPTY" and not parameters:
            self.clear()
        elif wanted == "SIMPLELOOP" and parameters:
            self._load_loop(*parameters[:3])
        else:
            raise ScpiError(ILLEGAL_VALUE)

    def _load_loop(self, count: str, delay: str = "0", buffer: str = BUFFER) -> None:
        self.clear()
        self._define_clear("1", buffer)
        self._define_output("2", "ON")
        self._define_delay("3", delay)
        self._define_measure("4", buffer)
        self._define_counter("5", count, "3")
        self._define_output("6", "OFF")

    def _define_clear(self, number: str, buffer: str = BUFFER) -> None:
        name = unquoted(buffer)
        self._unit.buffers[name]
        self._put(number, lambda: self._unit.buffers[name].clear())

    def _define_recall(self, number: str, name: str, index: str = "1") -> None:
        listed = unquoted(name)
        place = round(real(index, 1, max(1, len(self._unit.list_named(listed)))))
        self._put(number, lambda: self._recall(listed, place))

    def _define_step(self, by: int, number: str, name: str) -> None:
        listed = unquoted(name)
        self._unit.list_named(listed)
        self._put(number, lambda: self._recall(listed, self._places.get(listed, 0) + by))

    def _recall(self, name: str, place: int) -> None:
        entries = self._unit.list_named(name)
        if not entries:
            raise ScpiError(_FAILED)
        self._places[name] = (place - 1) % len(entries) + 1
        self._unit.recall(entries[self._places[name] - 1])

    def _define_output(self, number: str, state: str) -> None:
        on = boolean(state)
        self._put(number, lambda: self._unit.channel.drive(on=on))

    def _define_delay(self, number: str, time: str) -> None:
        delay_s = real(time, 0.0, 1e4)
        self._put(number, lambda: self._unit.channel.elapse(delay_s))

    def _define_measure(self, number: str, buffer: str = BUFFER, count: str = "1") -> None:
        name, times = unquoted(buffer), round(real(count, 1, 1e6))
        self._unit.buffers[name]

        def act() -> None:
            for _ in range(times):
                self._unit.measure(name)

        self._put(number, act)

    def _define_counter(self, number: str, count: str, target: str) -> None:
        """Branches until it was reached `count` times; then starts anew."""
        most, to, own = round(real(count, 1, 268435455)), round(real(target, 0, _BLOCKS_MAX)), number

        def act() -> int | None:
            reached = self._counters.get(int(own), 0) + 1
            self._counters[int(own)] = 0 if reached >= most else reached
            return None if reached >= most else to

        self._put(number, act)

    def _define_once(self, number: str, target: str) -> None:
        own, to = int(number), round(real(target, 0, _BLOCKS_MAX))

        def act() -> int | None:
            if own in self._once:
                return None
            self._once.add(own)
            return to

        self._put(number, act)

    def _define_notify(self, number: str, event: str) -> None:
        real(event, 1, 8)
        self._put(number, lambda: None)  # nothing here listens to events

    def _define_event(self, number: str, event: str, target: str) -> None:
        """The one event that is simulated: the source ran into its limit."""
        choice(event, "SLIMit")
        to = round(real(target, 0, _BLOCKS_MAX))
        self._put(number, lambda: to if self._unit.channel.limited else None)
