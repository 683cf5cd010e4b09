"""Nothing is left behind: every type and every way to fail, some thousand times; blocks and references are compared."""

import gc
import math
import sys
from array import array
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pitcrew
import pytest
from pitcrew import (
    Atom,
    DecodeError,
    EncodeError,
    Ext,
    FrozenDict,
    FrozenList,
    Timestamp,
    Unpacker,
    _core,
    packb,
    unpackb,
)

numpy = pytest.importorskip("numpy")

WARM, ROUNDS = 200, 1500
SLACK = ROUNDS // 10  # blocks that caches of Python's may take meanwhile
SINGLETONS = (None, True, False, 1, "", b"", (), math.nan, Atom, DecodeError, EncodeError)


def leaves_nothing(work: Callable[[], Any], *inputs: Any) -> None:
    watched = (*SINGLETONS, *inputs)

    def measure(rounds: int) -> tuple[int, list[int]]:
        for _ in range(rounds):
            work()
        gc.collect()
        return sys.getallocatedblocks(), list(map(sys.getrefcount, watched))

    measure(WARM)
    for attempts_left in (2, 1, 0):  # a leak comes every time, what else grows does not
        before, references = measure(WARM)
        after, now = measure(ROUNDS)
        taken = {repr(value): n - m for value, m, n in zip(watched, references, now, strict=True)}
        grown = after - before
        if max(grown, *map(abs, taken.values())) < SLACK:
            return
        assert attempts_left, f"{grown} blocks in {ROUNDS} rounds, and references: {taken}"


def failing(
    function: Callable[..., Any], *arguments: Any, error: Any = (EncodeError, DecodeError), **options: Any
) -> Any:
    def work() -> None:
        try:
            function(*arguments, **options)
        except error:
            return
        raise AssertionError("no error")

    return work


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class Broken(Point):
    """Whose converter raises."""


class BadNumber:
    def __index__(self) -> int:
        raise LookupError


class BadRepr:
    def __repr__(self) -> str:
        raise LookupError


def raising(*_: Any) -> Any:
    raise LookupError


pitcrew.register_type(Point, encode=lambda point: {"x": point.x})
pitcrew.register_type(Broken, encode=raising)

VALUES = {
    "scalars": [None, True, False, 1, 300, -(2**40), 2**64 - 1, 1.5, math.nan, math.inf],
    "big ints": [2**70, -(2**70), 1 << 5000],
    "text": ["", "abc", "é" * 20, "é" * 300, "😀", "x" * 70_000],
    "bytes": [b"", b"x" * 300, bytearray(b"ba"), memoryview(b"abcd")[::2], b"x" * 70_000],
    "atoms": [Atom("ok"), Atom("λ"), {Atom("k"): Atom("v")}],
    "lists": [[], [1, 2, 3, 4, 5], [[["x"]]], FrozenList([1]), list(range(300)), [0.5] * 300],
    "tuples": [(), (1, "x", (2.5,))],
    "maps": [
        {},
        {"a": 1, 2: "b", (1, 2): [3]},
        {FrozenList([1]): 1, FrozenDict(a=1): 2},
        {i: str(i) for i in range(300)},
    ],
    "keys apart": [pitcrew.Map([(1, 2), (1.0, 3), (True, [4])])],
    "sets": [set(), {1, "a", (2,)}, frozenset([b"b", frozenset([1])])],
    "dates": [date(2024, 2, 29), time(1, 2, 3, 4), pitcrew.Time(1, precision=3)],
    "moments": [
        datetime(2024, 1, 2, 3),
        datetime(2024, 1, 2, 3, tzinfo=UTC),
        pitcrew.DateTime(2024, 1, 2, precision=2),
    ],
    "zones": [
        datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2024, 7, 1, tzinfo=timezone(timedelta(hours=2))),
        datetime(2024, 7, 1, tzinfo=pitcrew.Zone("Far/Away", "FA", 60)),
    ],
    "decimals": [Decimal("1.5"), Decimal("9" * 40), Decimal("NaN"), Decimal("-Infinity")],
    "tensors": [array("d", [1.0]), numpy.eye(3), numpy.eye(3).T[::2], pitcrew.Tensor("<i2", (2, 1), bytes(4))],
    "numpy scalars": [numpy.float32(0.5), numpy.int16(3), numpy.bool_(True)],
    "arrow": [pitcrew.Arrow(b"stream")],
    "opaque": [pitcrew.Opaque(b"o" * 17), {pitcrew.Opaque(b"o" * 17): 1}],
    "registered": [Point(1), [Point(2)]],
}


@pytest.mark.parametrize("row", VALUES)
def test_every_type(row):
    value = VALUES[row]
    data = _core.encode(value)

    def work():
        packb(value, types="pitcrew")
        _core.encode(value)
        unpackb(data, types="pitcrew", keys="strict", use_list=False)
        unpackb(data, raw=True, keys="strict")
        unpacker = Unpacker(types="pitcrew", keys="strict")
        unpacker.feed(data[:7])
        list(unpacker)
        unpacker.feed(data[7:] + data)
        assert len(list(unpacker)) == 2

    leaves_nothing(work, *value)


@pytest.mark.parametrize("row", VALUES)
def test_every_type_cut_short(row):
    """An error behind each value, within it, and in the middle of a stream."""
    value = VALUES[row]
    data = _core.encode(value)
    pieces = [data[:n] for n in sorted({1, len(data) // 3, len(data) // 2, len(data) - 1}) if n < len(data)]

    def work():
        failing(_core.encode, [*value, 1j])()
        failing(packb, {"k": [*value, 1j]}, types="pitcrew")()
        failing(packb, value, types="pitcrew", max_size=5)()
        for piece in pieces:
            failing(unpackb, piece, types="pitcrew", keys="strict")()
            unpacker = Unpacker(types="pitcrew", keys="strict")
            unpacker.feed(piece)
            assert list(unpacker) == []
        failing(unpackb, data + b"\x01", types="pitcrew", keys="strict")()

    leaves_nothing(work, *value)


deep: list[Any] = []
for _ in range(600):
    deep = [deep]

ENCODE_ERRORS = {
    "no form": failing(_core.encode, {"a": [1, (object(),)]}),
    "no form in a key": failing(_core.encode, {(1, object()): 1}),
    "no form in a set": failing(_core.encode, {(1, object())}),
    "a surrogate": failing(_core.encode, ["a\ud800"]),
    "twins": failing(_core.encode, {"a": 1, b"a": 2, (math.nan,): 3}),
    "twins of a set": failing(_core.encode, {"a", b"a"}),
    "twins of a Map": failing(_core.encode, pitcrew.Map([("a", 1), (b"a", 2)])),
    "too deep": failing(_core.encode, deep),
    "a time with a zone": failing(_core.encode, [time(1, tzinfo=UTC)]),
    "a signaling NaN": failing(_core.encode, [Decimal("sNaN")]),
    "an array without a form": failing(_core.encode, [numpy.zeros(1, "i4,f8")]),
    "an array of objects": failing(_core.encode, [numpy.array([[]], object)]),
    "a long atom": failing(_core.encode, [Atom("a" * 256)]),
    "an int in plain data": failing(packb, [2**70]),
    "__index__ raises": failing(_core.encode, [BadNumber()], error=LookupError),
    "__repr__ of a key raises": failing(_core.encode, {BadRepr(): 1}, error=(LookupError, EncodeError)),
    "a converter raises": failing(_core.encode, {"a": [Broken(1)]}, error=LookupError),
    "default raises": failing(packb, {"a": [1j]}, default=raising, error=LookupError),
    "default of an int raises": failing(packb, [2**70], default=raising, error=LookupError),
    "default returns its argument": failing(packb, [1j], default=lambda value: [value]),
    "an option": failing(packb, 1, types="other", error=ValueError),
    "no option": failing(packb, 1, type="plain", error=TypeError),
}


@pytest.mark.parametrize("case", ENCODE_ERRORS)
def test_what_cannot_be_written(case):
    leaves_nothing(ENCODE_ERRORS[case])


def test_functions_of_the_caller():
    def work():
        packb([1j, 2j], default=lambda value: [value.real])
        packb([2**70], default=str)
        packb([1j], default=lambda value: Ext(5, packb([value.imag])))
        unpackb(packb([Ext(5, b"x")]), ext_hook=lambda code, data: [code, data])

    leaves_nothing(work)


def ext(code: int, payload: bytes) -> bytes:
    return packb([Ext(code, payload)])


DECODE_ERRORS = {
    "equal keys": b"\x82\x01\x01\xcb?\xf0\0\0\0\0\0\0\x01",
    "equal elements": ext(4, b"\x92\x01\xcb?\xf0\0\0\0\0\0\0"),
    "an error in a key": b"\x81" + _core.encode((1, [2]))[:-1] + b"\xc1\x01",
    "an error in an element": ext(4, b"\x91\x92\x01\xc1"),
    "text": b"\x92\x01\xa2\xff\xff",
    "text of a key": b"\x81\xa2\xff\xff\x01",
    "an atom": ext(1, b"\xff"),
    "a big int": ext(2, b"\x07\x01"),
    "a tuple": ext(3, b"\x92\xa1x"),
    "a date": ext(5, b"\x93\x00\x01\x01"),
    "a time": ext(6, b"\x95\x7f\x01\x01\x01\x01"),
    "a moment": ext(7, b"\x91\x01"),
    "a zone": ext(8, packb([2024, 1, 1, 1, 1, 1, 0, 0, "A", "B", 90_000, 0])),
    "a decimal": ext(9, packb([1, "no", 0])),
    "a decimal's exponent": ext(9, packb([1, 10**18, 2**62])),
    "a tensor": ext(10, packb(["<f8", [2], b"x"])),
    "a tensor's dtype": ext(10, packb(["<u1", [1], b"x"])),
    "nanoseconds": packb([Timestamp(1, 1)]),
    "an array's count": b"\xdd\xff\xff\xff\xff",
    "no MessagePack": b"\x93\x01\x02\xc1",
    "too deep": b"\x91" * 600 + b"\x01",
}


@pytest.mark.parametrize("case", DECODE_ERRORS)
def test_what_cannot_be_read(case):
    data = DECODE_ERRORS[case]

    def stream():
        unpacker = Unpacker(types="pitcrew", strict_map_key=False)
        unpacker.feed(b"\x01" + data + b"\x01")
        assert next(unpacker) == 1
        failing(lambda: list(unpacker), error=DecodeError)() if case != "an array's count" else list(unpacker)

    def work():
        failing(_core.decode, data)()
        failing(unpackb, data, types="pitcrew", strict_map_key=False)()
        stream()

    leaves_nothing(work, data)


def test_what_the_callers_of_unpackb_get_wrong():
    data = packb({"a": [Ext(5, b"x")]})
    cases = [
        failing(unpackb, data, ext_hook=raising, error=LookupError),
        failing(
            unpackb,
            b"\x81" + packb(Ext(5, b"")) + b"\x01",
            strict_map_key=False,
            ext_hook=lambda *_: [],
            error=TypeError,
        ),
        failing(unpackb, b"\x81\x01\x01"),
        failing(unpackb, data, max_size=3),
        failing(unpackb, packb([[1]]), max_depth=1),
        failing(unpackb, data, keys=3, error=ValueError),
        failing(unpackb, "text", error=TypeError),
        failing(Unpacker, max_size=0, error=ValueError),
        failing(Unpacker(max_size=4).feed, b"12345"),
    ]
    leaves_nothing(lambda: [case() for case in cases], data)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_memory_beside_objects():
    """What is no block of Python's."""
    large = packb({"a": b"x" * 200_000})

    def rounds(n):
        for _ in range(n):
            packb(unpackb(large))
            unpacker = Unpacker()
            unpacker.feed(large)
            list(unpacker)
            failing(packb, [b"x" * 200_000, 1j])()
            failing(_core.encode, {"a" * 100_000: 1, b"a" * 100_000: 1})()

    rounds(50)
    before = resident()
    rounds(500)
    assert (resident() - before) * 4096 < 20_000_000  # 500 leaks would be at least 50 MB
