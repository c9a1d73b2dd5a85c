"""What the fuzzers start from: `python firmware/tests/seeds.py` writes tests/corpus.

`--check` writes nothing and exits 1 when the files differ from what would be written.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from eapu_drivers.controller import messages as m
from eapu_drivers.controller.frames import encode

CORPUS = Path(__file__).resolve().parent / "corpus"
ROWS, COLS = 16, 8  # of the two arrays behind both harnesses

LIMITS = m.Limits(1, 3_500_000, 5_000_000, 250_000, 2_000_000, 1_000_000, 1000)
CALIBRATE = m.Calibrate(
    2, 0, m.LineKind.ROW_DAC, 3, np.array([(1.01, 1e-3), (0.99, -1e-3)], m.Calibrate.TAIL)
)
# recipes/rram_180nm.yaml
RECIPE = m.Recipe(
    3, 1, 0, 60, 20, 5, 1e-6, 4e-5, 1e-6, 0.2, 0.7, 0.02, 2.0, 0.7, 40e-6, 2.0, 0.1, 2.5, 1e-7,
    4.0, 1.0, 0.05, 2.5, 1e-7, 10.0,
)  # fmt: skip
READ = m.Read(4, 0, 200_000, 1, 2, 3, 4)
PULSE = m.Pulse(
    100,
    1,
    np.array(
        [(0, 1, 1, 2_000_000, 1_500_000, 100, 3), (2, 1, -1, 2_000_000, 4_000_000, 100, 1)], m.Pulse.TAIL
    ),
)
WRITE = m.Write(200, 0, 1, np.array([(row, 3, 2e-5) for row in range(12)], m.Write.TAIL))
PRODUCT = m.Product(5, 0, m.LineDirection.FORWARD, 2, 30, np.array([0xFF, 0x0F, 0x81], np.uint8))
TRANSPOSED = m.Product(6, 1, m.LineDirection.TRANSPOSED, 1, 2, np.array([0x07, 0x01, 0x80], np.uint8))
CONFIGURED: tuple[m.Message, ...] = (LIMITS, CALIBRATE, RECIPE)
DATA = tuple(m.ProductData(5, np.full(90, code, np.int16)) for code in (0, 8000, -8000, 100))
BOARD_REQUESTS = (m.Limits, m.Calibrate, m.Recipe, m.Read, m.Pulse, m.Write, m.Product, m.ProductData)


def _input(what: int, content: bytes) -> bytes:
    return bytes((what, len(content))) + content


def _board(requests: Iterable[m.Message], *rest: bytes) -> bytes:
    """fuzz_board.c: what number i of BOARD_REQUESTS is, then 11 to run."""
    inputs = (_input(BOARD_REQUESTS.index(type(request)), request.pack()) for request in requests)
    return b"".join((*inputs, *rest))


def _frame(message: m.Message) -> bytes:
    """fuzz_controller.c: a frame in order, and then many steps."""
    return _input(8, bytes((message.NUMBER,)) + message.pack())


def _controller(sent: Iterable[m.Message], *rest: bytes) -> bytes:
    return b"".join((*map(_frame, sent), *rest))


def seeds() -> Iterator[tuple[str, bytes]]:
    """Name, with its harness as a folder, and content."""
    hello = m.Hello(m.VERSION, m.SCHEMA, 7, 50, 1000)
    for message in (hello, LIMITS, RECIPE, WRITE):
        yield f"frame/{type(message).__name__.lower()}", encode(message.NUMBER, 1, 2, message.pack())
    yield "frame/long", encode(m.ProductData.NUMBER, 0, 0, bytes(range(1, 241)))
    yield "frame/overlong", b"\xff" + bytes(range(1, 255)) * 5 + b"\0"
    yield "frame/two", encode(m.Status.NUMBER, 0, 3, b"abcd") + b"\0" + encode(m.Ack.NUMBER, 0, 4, b"")

    run, fail, end = _input(11, b""), _input(8, b"\x03"), _input(9, b"")
    yield "board/configure", _board(CONFIGURED)
    jobs = {"read": READ, "pulse": PULSE, "write": WRITE}
    for name, job in jobs.items():
        yield f"board/{name}", _board((*CONFIGURED, job), run)
        yield f"board/{name}_fails", _board(CONFIGURED, fail, _board((job,)), run)
        yield f"board/{name}_ends", _board((*CONFIGURED, job), end, _input(10, b""))
    yield "board/product", _board((*CONFIGURED, PRODUCT, *DATA), run)
    yield (
        "board/transposed",
        _board((LIMITS, TRANSPOSED, m.ProductData(6, np.arange(6, dtype=np.int16))), run),
    )

    second, damaged = _input(5, b"\xff\x04"), _input(3, b"\x05damage\0")
    yield "controller/configure", _controller((*CONFIGURED, m.GetLimits(9), m.Status(10)))
    for name, job in jobs.items():
        yield f"controller/{name}", _controller((*CONFIGURED, job, m.Recall(11, job.id)), _frame(job), second)
    yield "controller/product", _controller((*CONFIGURED, PRODUCT, *DATA))
    yield "controller/wait", _controller((LIMITS, m.Wait(12, 1000), READ))
    yield (
        "controller/abort",
        _controller(CONFIGURED, _input(0, bytes((m.Write.NUMBER,)) + WRITE.pack()), _frame(m.Abort(13))),
    )
    yield "controller/ground", _controller((*CONFIGURED, PRODUCT, m.Ground(14), *DATA, READ))
    yield "controller/silence", _controller((LIMITS, READ), second, _frame(m.Clear(15)), _frame(READ))
    yield (
        "controller/fails",
        _controller(CONFIGURED, _input(6, b"\x02"), _controller((WRITE, m.Clear(16), PULSE))),
    )
    yield (
        "controller/damaged",
        _controller((LIMITS,), damaged, _input(2, bytes((m.Read.NUMBER, 9, 0)) + READ.pack())),
    )
    yield "controller/again", _controller((LIMITS,), _input(7, b"\x01"), _input(7, b"\x02"), _frame(READ))
    yield (
        "controller/direct",
        b"".join(
            _input(12, bytes((message.NUMBER,)) + message.pack())
            for message in (*CONFIGURED, READ, PULSE, WRITE)
        ),
    )
    yield "controller/stranger", _input(0, bytes((m.Hello.NUMBER,)) + bytes((m.VERSION + 1,)) + bytes(16))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    wanted = {CORPUS / name: content for name, content in seeds()}
    found = {path: path.read_bytes() for path in CORPUS.rglob("*") if path.is_file()}
    if parser.parse_args().check:
        return 0 if wanted == found else 1
    for path in found.keys() - wanted.keys():
        path.unlink()
    for path, content in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
