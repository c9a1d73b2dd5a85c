"""YAML from strangers: every file ends in its content or in one short line, and soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from eapu_hil.base.loading import load_model
from eapu_hil.base.overrides import parse_overrides
from eapu_hil.base.yamltext import parse_yaml, stored_yaml
from eapu_hil.bench.config import BenchConfig
from eapu_hil.hal import ConfigError, HilError
from eapu_hil.training.runs import read_metrics, read_start, read_summary

ALIASES = "a: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{k}: &a{k + 1} [{', '.join([f'*a{k}'] * 9)}]\n" for k in range(8)
)
MERGED = "a: &a0 {k: v}\n" + "".join(
    f"b{k}: &a{k + 1} {{<<: [{', '.join([f'*a{k}'] * 9)}]}}\n" for k in range(8)
)
BOMBS = {
    "aliases": (ALIASES, "more than 50000 values, with those that aliases stand for"),
    "merged": (MERGED, "more than 50000 values"),
    "itself": ("&a [*a]", "an alias for what it stands in"),
    "its own key": ("&a {x: *a}", "an alias for what it stands in"),
    "lists in lists": ("[" * 5000, "nested deeper than 40 levels"),
    "mappings in mappings": ("{a: " * 5000, "nested deeper than 40 levels"),
    "indented": ("".join("\n" + " " * k + "- " for k in range(200)), "nested deeper than 40 levels"),
    "questions": ("? " * 3000, "nested deeper than 40 levels"),
    "long": ("x: " + "y" * (1 << 20), "1048579 characters; allowed are 1048576"),
    "digits": ("x: " + "1" * 5000, "has 5000 characters; allowed are 40"),
    "hexadecimal": ("x: 0x" + "f" * 5000, "has 5002 characters; allowed are 40"),
    "to the base of 60": ("x: 1" + ":59" * 5000, "allowed are 40"),
    "fractions to the base of 60": ("x: 1" + ":59" * 5000 + ".5", "allowed are 40"),
    "no time": ("x: !!timestamp foo", "not valid YAML"),
    "no truth": ("x: !!bool foo", "not valid YAML"),
    "no number": ('x: !!int ""', "not valid YAML"),
    "no month": ("x: 2001-13-45", "month must be in 1..12"),
    "an object": ("x: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_in_one_short_line(bomb: str, tmp_path: Path) -> None:
    text, said = BOMBS[bomb]
    with pytest.raises(ConfigError) as error:
        parse_yaml(text, "bench.yaml")
    assert said in str(error.value)
    assert len(str(error.value)) < 250
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the one above, without a label
        stored_yaml(text)
    (tmp_path / "start.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"start\.yaml: damaged"):
        read_start(tmp_path)
    (tmp_path / "bench.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"bench\.yaml"):
        load_model(BenchConfig, tmp_path / "bench.yaml", (), "benches")
    with pytest.raises(ConfigError) as error:
        parse_overrides([f"a.b={text}"])
    assert len(str(error.value)) < 350


@pytest.mark.parametrize("text", ['"\\e[2J"', '"\\0"', '"\\x9b"', '"\\ud800"', '"\\x7f"', "'a': \"\\b\""])
def test_no_control_characters_from_files(text: str) -> None:
    with pytest.raises(ConfigError, match="the control character '") as error:
        parse_yaml(f"name: [{text}]" if ":" not in text else text, "bench.yaml")
    assert str(error.value).isprintable()


def test_what_people_write_is_read() -> None:
    text = "a: &a {x: 1e-3, y: [1.0, 2]}\nb: *a\nc: {<<: *a, y: 0x10}\nd: |\n  two\n  lines\n"
    one = {"x": 0.001, "y": [1, 2]}
    assert parse_yaml(text, "it") == {"a": one, "b": one, "c": {"x": 0.001, "y": 16}, "d": "two\nlines\n"}
    assert stored_yaml("x: 1.0\ny: &a [1]\nz: *a") == {"x": 1.0, "y": [1], "z": [1]}


@pytest.mark.parametrize("depth", [21, 100_000])
def test_a_path_of_keys_has_an_end(depth: int) -> None:
    with pytest.raises(ConfigError, match="allowed are 20"):
        parse_overrides([".".join("a" * depth) + "=1"])


def test_a_file_without_end_is_no_file_of_ours() -> None:
    with pytest.raises(ConfigError):
        load_model(BenchConfig, "/dev/zero", (), "benches")


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_model(BenchConfig, "a\0b.yaml", (), "benches")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[1]", "1", '"x"', "{", '{"a": ' * 50_000, "1" * 10_000, b"\xff", "NaN", '{"a": 1'],
)
def test_hostile_json_is_an_error_that_names_the_file(text: str | bytes, tmp_path: Path) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "start.yaml").write_text("id: of an older version\n", encoding="utf-8")
    (tmp_path / "summary.json").write_bytes(data)
    with pytest.raises(HilError, match=r"summary\.json"):
        read_summary(tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(data + b"\n")
    with pytest.raises(HilError, match=r"metrics\.jsonl:1: damaged line"):
        read_metrics(tmp_path)
