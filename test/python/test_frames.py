"""DataFrames of pandas and polars, which travel as Arrow tables."""

import contextlib
import datetime
import decimal
import sys

import pytest
from harness import run_python
from pitcrew import Arrow, EncodeError, _core

pa = pytest.importorskip("pyarrow")

NAMES = ["a", None, "é", ""]
SMALL, LARGE = 4, 40_000  # rows: of less and of more than 64 KiB


@pytest.fixture(autouse=True, scope="module")
def started():
    """polars opens descriptors of its own when it first reads: before the leak gate looks."""
    with contextlib.suppress(ImportError):
        import polars

        Arrow(_core.decode(_core.encode(polars_frame(polars, SMALL))).data).to_polars()


def through(value):
    back = _core.decode(_core.encode([value]))[0]
    assert type(back) is Arrow and _core.encode(back) == _core.encode(value)
    return back


def repeated(values, rows):
    return [values[i % len(values)] for i in range(rows)]


def pandas_frame(pandas, rows):
    columns = {
        "n": repeated([1, 2, 3], rows),
        "x": repeated([0.5, None, -1.0], rows),
        "s": repeated(NAMES, rows),
        "l": repeated([[1], [2, 3], None, []], rows),
        "t": pandas.date_range("2024-02-29", periods=rows, freq="min", tz="Europe/Berlin"),
        "c": pandas.Categorical(repeated(["x", "y"], rows)),
        "m": pandas.array(repeated([1, None], rows), dtype="Int16"),
    }
    return pandas.DataFrame(columns, index=pandas.Index([f"row {i}" for i in range(rows)], name="key"))


@pytest.mark.parametrize("rows", [0, SMALL, LARGE])
def test_frames_of_pandas(rows):
    pandas = pytest.importorskip("pandas")
    frame = pandas_frame(pandas, rows)
    back = through(frame)
    if rows > 0:  # pyarrow cannot know what lists that are not there hold
        pandas.testing.assert_frame_equal(back.to_pandas(), frame)
    assert list(back.to_pandas().columns) == list(frame.columns) and len(back.to_pandas()) == rows
    assert pa.table(back).equals(pa.Table.from_pandas(frame))


def polars_frame(polars, rows):
    day = datetime.datetime(2024, 2, 29, 1, 2, 3, 4, datetime.UTC)
    columns = {
        "n": repeated([1, None, 3], rows),
        "s": repeated(NAMES, rows),
        "l": polars.Series(repeated([[1], [], None, [None, 2]], rows), dtype=polars.List(polars.Int16)),
        "r": polars.Series(repeated([{"a": 1}, {"a": None}, None], rows), dtype=polars.Struct({"a": polars.Int64})),
        "d": repeated([decimal.Decimal("1.5"), None], rows),
        "t": repeated([day, None], rows),
        "z": [None] * rows,
        "c": polars.Series(repeated(["x", "y"], rows), dtype=polars.Categorical),
    }
    return polars.DataFrame(columns)


@pytest.mark.parametrize("rows", [0, SMALL, LARGE])
def test_frames_of_polars(rows):
    polars = pytest.importorskip("polars")
    frame = polars_frame(polars, rows)
    back = through(frame)
    assert back.to_polars().equals(frame) and back.to_polars().schema == frame.schema
    assert polars.DataFrame(back).equals(frame), "the PyCapsule interface"
    assert back.to_pyarrow().num_rows == rows and "view" not in str(back.to_pyarrow().schema)


def test_what_one_library_has_sent_others_read():
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    table = pa.table({"n": [1, 2, None], "s": ["a", None, "é"]})
    for value in (table, polars.DataFrame(table), pandas.DataFrame({"n": [1, 2, None], "s": ["a", None, "é"]})):
        back = through(value)
        assert back.to_polars().to_dicts() == table.to_pylist()
        assert back.to_pandas()["s"].to_list()[::2] == ["a", "é"] and len(back.to_pandas()) == 3


def test_frames_that_arrow_cannot_hold():
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    for value in (pandas.DataFrame({"a": [1, "x", object()]}), polars.DataFrame({"a": [object()]})):
        with pytest.raises(EncodeError, match="a DataFrame that Arrow cannot hold") as caught:
            _core.encode({"frames": [value]})
        assert caught.value.path == ("frames", 0)


def test_other_values_of_these_libraries_are_refused_with_a_way_out():
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    frame = polars.DataFrame({"a": [1]})
    for value in (frame.lazy(), frame["a"], pandas.Series([1])):
        with pytest.raises(EncodeError, match="only a DataFrame has a form; send "):
            _core.encode(value)


def test_pandas_without_pyarrow_is_an_error_that_says_so():
    pytest.importorskip("pandas")
    done = run_python(
        """
import sys
import pandas
from pitcrew import _core, EncodeError
for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
    del sys.modules[name]
sys.modules["pyarrow"] = None  # what an import that fails looks like
try:
    _core.encode(pandas.DataFrame({"a": [1]}))
except EncodeError as error:
    print(error.reason)
"""
    )
    assert done.stdout == "a DataFrame of pandas travels as an Arrow table, which needs pyarrow\n", done.stderr


def test_polars_needs_no_pyarrow():
    pytest.importorskip("polars")
    done = run_python(
        """
import sys
sys.modules["pyarrow"] = None
import polars
from pitcrew import _core
frame = polars.DataFrame({"a": [1, None], "b": ["x", "y"]})
print(_core.decode(_core.encode(frame)).to_polars().equals(frame))
"""
    )
    assert done.stdout == "True\n", done.stderr


def test_no_library_is_imported_to_pass_a_table_on():
    code = """
import sys
from pitcrew import Arrow, _core
_core.decode(_core.encode([Arrow(b"not looked into")]))
print([name for name in ("numpy", "pyarrow", "pandas", "polars") if name in sys.modules])
"""
    assert run_python(code).stdout == "[]\n", sys.version
