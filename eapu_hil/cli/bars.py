"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from eapu_hil.base.printable import printable
from eapu_hil.base.quantities import count, share
from eapu_hil.cli.pace import Pace
from eapu_hil.cli.terminal import Terminal


@contextmanager
def measurement_bars(terminal: Terminal) -> Iterator[Callable[[str], Callable[[float], None]]]:
    """One bar a measurement, which is told the part that is done; where stderr is a file, a line at its end."""
    console = terminal.errors
    with Progress(
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
        expand=True,
    ) as bars:

        def begin(name: str) -> Callable[[float], None]:
            task, pace = bars.add_task(printable(name), total=1.0), Pace(1.0)

            def tell(done: float) -> None:
                bars.update(task, completed=done)
                if done >= 1.0 and not console.is_terminal and not bars.tasks[task].fields.get("said"):
                    bars.update(task, said=True)
                    line = f"eapu-hil: {name}: measured  {pace.text(done)}"
                    console.print(line, markup=False, soft_wrap=True)

            return tell

        yield begin


def counting_bar(console: Console, field: str) -> Progress:
    """One bar that counts, with the text `field` of its task; nothing where stderr is no terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[{field}]}}", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
        expand=True,
    )


class BatchBar:
    """Progress of many runs: a bar on a terminal, one line a run where stderr is a file."""

    def __init__(self, terminal: Terminal, label: str, total: int) -> None:
        self._console, self._total, self._done = terminal.errors, total, 0
        self._pace = Pace(total)
        self._pace.text(0)
        self._bar = counting_bar(self._console, "last")
        self._task = self._bar.add_task(printable(label), total=total, last="")

    def ended(self, name: str, result: str) -> None:
        """One more run has ended."""
        self._done += 1
        name, result = printable(name), printable(result)
        self._bar.update(self._task, completed=self._done, last=f"{name}: {result}")
        if not self._console.is_terminal:
            line = f"{self._done}/{self._total}  {name}: {result}  {self._pace.text(self._done)}"
            self._console.print(line, soft_wrap=True, markup=False)

    def __enter__(self) -> BatchBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class TrainingBar:
    """The trainer's progress: a bar on a terminal, one line an evaluation where stderr is a file."""

    def __init__(self, terminal: Terminal, label: str) -> None:
        self._label = printable(label)
        self._console = terminal.errors
        self._bar = counting_bar(self._console, "numbers")
        self._task: TaskID | None = None
        self._total, self._pace = 0, Pace(0)
        self._loss: float | None = None
        self._ratio: float | None = None
        self._metric: float | None = None
        self._pulses = 0

    def on_start(self, total_steps: int) -> None:
        self._total, self._pace = total_steps, Pace(total_steps)
        self._task = self._bar.add_task(self._label, total=total_steps, numbers="")
        self._bar.start()

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None:
        # Single batches and single steps scatter widely: show running means over about 20 steps.
        self._loss = _running(self._loss, metrics.get("loss"))
        self._ratio = _running(self._ratio, metrics.get("update_ratio"))
        self._pulses += int(metrics.get("pulses") or 0)
        if self._task is not None:
            self._bar.update(self._task, completed=step, numbers=self._numbers())

    def on_evaluation(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._metric = metrics.get("metric")
        if not self._console.is_terminal:
            line = f"{self._label}: step {step}/{self._total}  {self._numbers()}".rstrip()
            self._console.print(f"{line}  {self._pace.text(step)}", soft_wrap=True, markup=False)

    def on_end(self) -> None:
        self._bar.stop()

    def _numbers(self) -> str:
        # Fixed widths keep the bar still.
        parts = [f"loss {self._loss:<8.3g}" if self._loss is not None else ""]
        parts.append(f"metric {self._metric:<6.4g}" if self._metric is not None else "")
        parts.append(f"written {share(self._ratio):<7}" if self._ratio is not None else "")
        parts.append(f"pulses {count(self._pulses)}" if self._pulses else "")
        return " ".join(part for part in parts if part)


def _running(mean: float | None, value: float | None) -> float | None:
    if value is None or mean is None:
        return value
    return mean + (value - mean) / 20
