"""Tables: every separator, header or none, and each fault with its place."""

from __future__ import annotations

import csv
import gzip
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eapu_hil.base.errors import ConfigError
from eapu_hil.base.tables import read_table
from eapu_hil.base.tabletext import as_number

_NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e29, max_value=1e29)


def _file(folder: Path, content: str | bytes) -> Path:
    path = folder / "data.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_marks_and_line_ends(tmp_path: Path, separator: str, start: bytes, end: str) -> None:
    lines = [["width", "length", "kind"], ["1.5", "-2e3", "a b"], [" 3", "4 ", "c"]]
    text = end.join(separator.join(fields) for fields in lines) + end
    table = read_table(_file(tmp_path, start + text.encode()))
    assert table.names == ("width", "length", "kind")
    np.testing.assert_array_equal(table.numbers([0, 1]), [[1.5, -2000.0], [3.0, 4.0]])
    assert table.texts(2) == ["a b", "c"]
    assert table.lines == [2, 3]
    assert [table.column(name) for name in ("kind", -1, 2)] == [2, 2, 2]


def test_a_comma_between_semicolons_is_a_decimal_point(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, "a;b\n1,5;2,25\n-3,0e2;4\n"))
    np.testing.assert_array_equal(table.numbers([0, 1]), [[1.5, 2.25], [-300.0, 4.0]])
    assert as_number("1,5") is None
    assert as_number("1.234,5", ";") is None


def test_quotes_blank_rows_and_fields_of_several_lines(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, 'note,"x,y"\n\n"two\nlines",1\n,\n"say ""so""",x\n'))
    assert table.names == ("note", "x,y")
    assert table.texts(0) == ["two\nlines", 'say "so"']
    assert table.lines == [3, 6]
    with pytest.raises(ConfigError, match=r"data\.csv:6: column 'x,y': 'x' is no number"):
        table.numbers([1])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1,2\n3,4\n", None),
        ("1,a\n2,b\n", None),
        ("400,500,glucose\n1,2,3\n", ("400", "500", "glucose")),  # wavelengths
        ("400,500,kind\n1,2,a\n", None),  # nothing tells
        (",a\n0,1\n", ("", "a")),
        ("a,b\n", None),
    ],
)
def test_what_is_a_header(tmp_path: Path, text: str, names: tuple[str, ...] | None) -> None:
    path = _file(tmp_path, text)
    if text == "a,b\n":
        with pytest.raises(ConfigError, match="no row but its header"):
            read_table(path)
        return
    assert read_table(path).names == names


def test_a_column_that_is_asked_for_makes_a_header(tmp_path: Path) -> None:
    assert read_table(_file(tmp_path, "400,500,kind\n1,2,a\n"), ["kind"]).names == ("400", "500", "kind")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no row"),
        ("\n , \n", "holds no row"),
        ("a,b\n1,2\n3\n", r"csv:3: 1 field; line 1 has 2, separated by commas"),
        ("a;b\n1;2\n3;4;5\n", r"csv:3: 3 fields; line 1 has 2, separated by semicolons"),
        (b"a,b\n1,\xff\n", r"csv:2: column 'b': '\xff' is no number"),
        (b"a,b\n1,\x00\n", "csv:2: holds the byte 0x00, so it is no text file"),
        (b"PK\x03\x04 a workbook", "csv:1: holds the byte 0x03, so it is no text file"),
        (b"\xff\xfea\x00,", "cannot be read as text"),
        (b"\x1f\x8b\x08\x00 cut", "cannot be read"),
        ('a,b\n1,"2\n3,4\n', "csv:2: a quote is opened here and never closed"),
        ("1,2\n3,1_000\n", r"csv:2: column 1: '1_000' is no number"),
        ("1;2\n1,5;2.5\n", r"csv:2: column 0: 1,5 has a decimal comma, but 2\.5 in line 2 a decimal point"),
        ("# a\n\na;b\n// c\n1;2\n\n3;x\n", r"csv:7: column 'b': 'x' is no number"),
        ("a\tb\n1\t2\n3\t\n", r"csv:3: column 'b': empty"),
        ("1,2\n3,x\n", r"csv:2: column 1: 'x' is no number"),
        ("1,2\nnan,4\n", r"csv:2: column 0: nan is not finite"),
        ("1,2\n3,-inf\n", r"csv:2: column 1: -inf is not finite"),
        ("1,2\n3,1e31\n", r"csv:2: column 1: 1e31 is too large"),
        ("1,2\n3,1e400\n", r"csv:2: column 1: 1e400 is not finite"),
    ],
)
def test_faults_name_their_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_table(_file(tmp_path, content)).numbers([0, 1])


def test_columns_in_the_order_of_another_file(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, "b,c,a\n1,2,x\n3,4,5\n")).arranged(["a", "b"])
    assert (table.names, table.rows, table.width) == (("a", "b"), [["x", "1"], ["5", "3"]], 2)
    with pytest.raises(ConfigError, match=r"csv:2: column 'a': 'x' is no number"):
        table.numbers([0])
    with pytest.raises(ConfigError, match="no column 'd'; it has a, b"):
        table.arranged(["a", "d"])


def test_columns_that_there_are_not(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, "width,length,width\n1,2,3\n"))
    with pytest.raises(
        ConfigError, match=r"no column 'lenght', did you mean 'length'\?; it has width, length"
    ):
        table.column("lenght")
    with pytest.raises(ConfigError, match="2 columns are called 'width'"):
        table.column("width")
    with pytest.raises(ConfigError, match="no column 3; it has 3, numbered from 0 to 2"):
        table.column(3)
    with pytest.raises(ConfigError, match="has no header line"):
        read_table(_file(tmp_path, "1,2\n3,4\n")).column("width")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(ConfigError, match=r"csv:2: column 'a': empty"):
        read_table(_file(tmp_path, "a,b\n,2\n")).texts(0)


ROWS = [["age", "g"], ["1", "10,5"], ["20", "0,25"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("separator", [";", "\t", " ", "  \t "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", [True, False])
def test_encodings_and_decimal_commas(
    tmp_path: Path, encoding: str, separator: str, end: str, header: bool
) -> None:
    rows = ROWS if header else ROWS[1:]
    text = end.join(["# measured", *(separator.join(fields) for fields in rows), "", ""])
    table = read_table(_file(tmp_path, text.encode(encoding)))
    assert table.names == (("age", "g") if header else None)
    np.testing.assert_array_equal(table.numbers([0, 1]), [[1.0, 10.5], [20.0, 0.25]])
    assert table.lines == ([3, 4] if header else [2, 3])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1,5 2,5\n3,5 4,5\n", [[1.5, 2.5], [3.5, 4.5]]),
        ("0, 1, 20\n1, 1, 30\n", [[0, 1, 20], [1, 1, 30]]),
        ("1,\t2\n3,\t4\n", [[1, 2], [3, 4]]),
        ("  1   2\n 10  20  \n", [[1, 2], [10, 20]]),
        ('"1"; "2,5"\n"3"; "4"\n', [[1, 2.5], [3, 4]]),
        ("0;10,00\n1;10,10\n", [[0, 10], [1, 10.1]]),
        ("sep=;\n1,5;2\n", [[1.5, 2]]),
        ("1;2\x1a", [[1, 2]]),
    ],
)
def test_the_separator_is_found(tmp_path: Path, text: str, rows: list[list[float]]) -> None:
    table = read_table(_file(tmp_path, text))
    np.testing.assert_array_equal(table.numbers(range(table.width)), rows)


def test_a_header_may_be_a_comment_that_names_what_is_asked_for(tmp_path: Path) -> None:
    path = _file(tmp_path, "# by a lab\n# row, col, g\n0, 1, 2\n")
    assert read_table(path, ["g"]).names == ("row", "col", "g")
    assert read_table(path, ["g"]).header_line == 2
    assert read_table(path).names is None


def test_lines_are_skipped_and_the_separator_is_as_asked(tmp_path: Path) -> None:
    path = _file(tmp_path, "Model;B2902A\nDate;1;2\n\na,b;c\n1,5;2\n")
    table = read_table(path, skip=2, separator=";")
    assert (table.names, table.lines) == (("a,b", "c"), [5])
    with pytest.raises(ConfigError, match=r"csv:3: 1 field; line 1 has 2, separated by commas"):
        read_table(_file(tmp_path, "1,2\n\n3;4\n"), separator=",")


def test_a_packed_file_is_unpacked_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, gzip.compress(b"1,2\n") + gzip.compress(b"3,4\n" * 100))
    assert len(read_table(path).rows) == 101
    monkeypatch.setattr("eapu_hil.base.tabletext.LARGEST_FILE", 100)
    with pytest.raises(ConfigError, match=r"data\.csv: holds more than .* unpacked"):
        read_table(path)


def test_windows_text_is_read_and_what_was_taken_for_what_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "eapu_hil.base.tables")
    table = read_table(_file(tmp_path, "% Messung\nLänge;µS\n1,5;2\n".encode("cp1252")))
    assert table.names == ("Länge", "µS")
    assert (
        "Windows-1252, separated by semicolons; header in line 2: Länge, µS; 1 rows of 2 columns from line 3 on, "
        "1 comment lines left out"
    ) in caplog.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.integers(2, 5).flatmap(
        lambda width: st.lists(st.lists(_NUMBERS, min_size=width, max_size=width), min_size=2, max_size=8)
    ),
    separator=st.sampled_from([",", ";", "\t"]),
    header=st.booleans(),
    comma=st.booleans(),
)
def test_numbers_come_back_as_they_were_written(
    tmp_path: Path, values: list[list[float]], separator: str, header: bool, comma: bool
) -> None:
    with (tmp_path / "data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        if header:
            writer.writerow([f"column {i}" for i in range(len(values[0]))])
        for row in values:
            fields = [repr(value) for value in row]
            writer.writerow([f.replace(".", ",") for f in fields] if comma and separator == ";" else fields)
    table = read_table(tmp_path / "data.csv")
    assert (table.names is not None) == header
    np.testing.assert_array_equal(table.numbers(range(len(values[0]))), values)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=80), st.text(alphabet="1a,;\t\n\r\"'. -", max_size=60)))
def test_any_file_is_a_table_or_one_line_of_error(tmp_path: Path, content: bytes | str) -> None:
    path, said = _file(tmp_path, content), None
    try:
        table = read_table(path)
        table.numbers(range(table.width))
    except ConfigError as error:
        said = str(error)
    assert said is None or (str(path) in said and "\n" not in said)
