"""The SCPI that simulated instruments speak."""

from __future__ import annotations

import re

import pytest
from eapu_drivers.simulated.instruments.scpi import (
    OUT_OF_RANGE,
    ScpiDevice,
    ScpiError,
    boolean,
    channel_list,
    choice,
    real,
    spellings,
    split_quoted,
    unquoted,
)
from hypothesis import given
from hypothesis import strategies as st


class Thing:
    """A device with a few commands; says what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, ...]] = []
        self.device = ScpiDevice(
            {
                "*IDN?": lambda: "we,thing,1,0",
                "[:SOURce[1]]:VOLTage[:LEVel]": lambda value: self.take("volt", value),
                "[:SOURce[1]]:VOLTage[:LEVel]?": lambda: "1.5",
                "[:SOURce[1]]:VOLTage:RANGe": lambda value: self.take("range", value),
                ":SOURce2:VOLTage": lambda value: self.take("volt2", value),
                ":LIST": lambda *values: self.take("list", *values),
                ":OPTional": lambda value="x": self.take("optional", value),
                ":FAIL": self.fail,
            },
            errors_max=3,
        )

    def take(self, *given: str) -> None:
        self.given.append(given)

    def fail(self) -> None:
        raise ScpiError(OUT_OF_RANGE)

    def queue(self) -> list[int]:
        codes = []
        while (error := self.device.take_error()) is not None:
            codes.append(error[0])
        return codes


@pytest.fixture
def thing() -> Thing:
    return Thing()


SHORT = {":SOUR1:VOLT:LEV", ":SOUR:VOLT:LEV", ":VOLT:LEV", ":SOUR1:VOLT", ":SOUR:VOLT", ":VOLT"}


def test_spellings() -> None:
    found = spellings("[:SOURce[1]]:VOLTage[:LEVel]")
    assert found >= SHORT
    assert ":SOURCE1:VOLTAGE:LEVEL" in found
    assert ":SOURC:VOLT" not in found
    assert ":SOUR2:VOLT" not in found
    assert spellings(":OUTPut2?") == {":OUTP2?", ":OUTPUT2?"}
    assert spellings("*RST") == {"*RST"}


@given(st.sampled_from(sorted(spellings("[:SOURce[1]]:VOLTage[:LEVel]"))), st.data())
def test_any_case_is_understood(header: str, data: st.DataObject) -> None:
    flips = data.draw(st.lists(st.booleans(), min_size=len(header), max_size=len(header)))
    mixed = "".join(c.lower() if flip else c for c, flip in zip(header, flips, strict=True))
    thing = Thing()
    thing.device.handle(f"{mixed} 2.5")
    assert thing.given == [("volt", "2.5")]
    assert thing.queue() == []


@given(st.text(st.characters(codec="ascii", exclude_characters=";\"'(),"), max_size=20))
def test_other_headers_are_undefined(text: str) -> None:
    thing = Thing()
    known = set().union(
        *(spellings(p) for p in ("[:SOURce[1]]:VOLTage[:LEVel]", ":LIST", ":OPTional", ":FAIL"))
    )
    header = text.strip().partition(" ")[0].upper()
    full = header if header.startswith((":", "*")) else f":{header}"
    if not text.strip() or full in known or full.rstrip("?") in known or "VOLT" in full or full == "*IDN?":
        return
    thing.device.handle(text)
    assert thing.queue() == [-113]
    assert thing.given == []


@pytest.mark.parametrize(
    ("message", "given"),
    [
        (":SOUR:VOLT 1;:LIST 2,3", [("volt", "1"), ("list", "2", "3")]),
        (":SOUR:VOLT 1;VOLT:RANG 2", [("volt", "1"), ("range", "2")]),  # from where the last one stood
        (":SOUR:VOLT:LEV 1;RANG 2", [("volt", "1"), ("range", "2")]),
        ("volt 1;*IDN?;volt 2", [("volt", "1"), ("volt", "2")]),
        (":SOUR2:VOLT 1", [("volt2", "1")]),
        (":OPT", [("optional", "x")]),
        (" :LIST   4 , 5 ; ", [("list", "4", "5")]),
        ("", []),
    ],
)
def test_compound_messages(thing: Thing, message: str, given: list[tuple[str, ...]]) -> None:
    thing.device.handle(message)
    assert thing.given == given
    assert thing.queue() == []


def test_answers_of_one_message_are_joined(thing: Thing) -> None:
    assert thing.device.handle("*IDN?;:VOLT?") == b"we,thing,1,0;1.5\n"
    assert thing.device.handle(":VOLT 1") == b""


@pytest.mark.parametrize(
    ("message", "code"), [(":VOLT", -109), (":VOLT 1,2", -108), (":VOLTA 1", -113), ("*XYZ", -113)]
)
def test_a_command_error_ends_the_message(thing: Thing, message: str, code: int) -> None:
    thing.device.handle(f"{message};:LIST 1")
    assert thing.queue() == [code]
    assert thing.given == []


def test_what_cannot_be_carried_out_leaves_the_rest_standing(thing: Thing) -> None:
    assert thing.device.handle(":FAIL;:LIST 1;:VOLT?") == b"1.5\n"
    assert thing.queue() == [-222]
    assert thing.given == [("list", "1")]


def test_the_last_entry_of_a_full_queue_tells_of_it(thing: Thing) -> None:
    for _ in range(5):
        thing.device.handle(":FAIL")
    assert thing.device.error_count == 3
    assert thing.queue() == [-222, -222, -350]
    thing.device.handle(":FAIL")
    thing.device.clear_errors()
    assert thing.queue() == []


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters=",()\"'")), min_size=1))
def test_plain_parts_are_split_and_joined_again(parts: list[str]) -> None:
    assert split_quoted(",".join(parts), ",") == parts


@given(st.text(st.characters(codec="ascii", exclude_characters='"')))
def test_nothing_is_split_in_quotes(text: str) -> None:
    assert split_quoted(f'a,"{text}",b', ",") == ["a", f'"{text}"', "b"]


def test_parameters() -> None:
    assert real("1e-3", 0, 1) == 1e-3
    assert (real("MIN", 0.5, 1), real("maximum", 0.5, 1), real("def", 0.5, 1, {"DEF": 0.7})) == (0.5, 1, 0.7)
    for text, code in (("2", -222), ("x", -104), ("nan", -222)):
        with pytest.raises(ScpiError, match=str(code)):
            real(text, 0, 1)
    assert boolean("on")
    assert not boolean("0")
    assert choice("volt", "VOLTage", "CURRent") == choice("VOLTAGE", "VOLTage") == "VOLT"
    for wrong in (lambda: boolean("maybe"), lambda: choice("volta", "VOLTage"), lambda: unquoted("x")):
        with pytest.raises(ScpiError):
            wrong()
    assert unquoted("'CURR'") == unquoted('"CURR"') == "CURR"


@given(st.lists(st.integers(1000, 9999), min_size=1, max_size=8), st.integers(0, 5))
def test_channel_lists(channels: list[int], more: int) -> None:
    first = channels[0]
    text = f"(@{','.join(map(str, channels))},{first}:{first + more})"
    written_out = [*channels, *range(first, first + more + 1)]
    assert channel_list(text) == [str(channel) for channel in written_out]


@pytest.mark.parametrize("text", ["1101", "(1101)", "(@)", "(@x)", "(@1:x)"])
def test_what_is_no_channel_list(text: str) -> None:
    with pytest.raises(ScpiError, match=re.escape("-104")):
        channel_list(text)
