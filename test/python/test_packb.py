"""packb and unpackb: MessagePack of others, option by option, beside the msgpack package."""

import math
import threading
from datetime import UTC, datetime

import pitcrew
import pytest
from pitcrew import Atom, DecodeError, EncodeError, Ext, FrozenDict, FrozenList, Timestamp, packb, unpackb

msgpack = pytest.importorskip("msgpack")
UTC = UTC

# ---- Plain values


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ((1, (2,)), [1, [2]]),
        (Atom("é"), "é"),
        (FrozenList([1]), [1]),
        ({"a": 1, b"a": 2}, {"a": 1, b"a": 2}),
        (bytearray(b"x"), b"x"),
        (pitcrew.Map({"a": 1}), {"a": 1}),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (-0.0, -0.0),
    ],
)
def test_plain_values(value, arrives):
    back = unpackb(packb(value))
    assert back == arrives and type(back) is type(arrives)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, {1}, frozenset(), 1j, datetime(2024, 1, 1), object()])
def test_what_messagepack_has_no_form_for(value):
    with pytest.raises(EncodeError) as caught:
        packb({"a": [value]})
    assert caught.value.path == ("a", 0) and "pitcrew" in caught.value.reason
    assert unpackb(packb({"a": [value]}, default=lambda v: str(type(v)))) == {"a": [str(type(value))]}


def test_types_of_pitcrew():
    value = {"t": (1, {2}), "a": Atom("x"), "i": 2**70, "d": datetime(2024, 1, 1, tzinfo=UTC), "e": Ext(99, b"z")}
    back = unpackb(packb(value, types="pitcrew"), types="pitcrew")
    assert back == value and type(back["a"]) is Atom and type(back["t"]) is tuple
    plain = unpackb(packb(value, types="pitcrew"))
    assert {key: type(item) for key, item in plain.items()} == {
        "t": Ext,
        "a": Ext,
        "i": Ext,
        "d": Timestamp,
        "e": Ext,
    }
    assert packb(plain) == packb(unpackb(packb(plain)))


@pytest.mark.parametrize("code", [-128, -2, 0, 1, 13, 127])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 8, 15, 16, 17, 255, 256, 65535, 65536])
def test_extensions_are_preserved(code, n):
    data = packb([Ext(code, b"x" * n)])
    if code >= 0:  # msgpack makes no others
        assert data == msgpack.packb([msgpack.ExtType(code, b"x" * n)])
    assert unpackb(data) == [Ext(code, b"x" * n)]
    assert unpackb(data, ext_hook=lambda code, body: (code, len(body))) == [(code, n)]


# ---- Timestamps of all three widths


@pytest.mark.parametrize(
    ("seconds", "nanoseconds"),
    [
        (0, 0),
        (2**32 - 1, 0),
        (2**32, 0),
        (0, 1),
        (2**34 - 1, 999_999_999),
        (2**34, 0),
        (-1, 0),
        (-1, 999_999_999),
        (2**63 - 1, 1),
        (-(2**63), 0),
    ],
)
def test_timestamps(seconds, nanoseconds):
    data = packb(Timestamp(seconds, nanoseconds))
    assert data == msgpack.packb(msgpack.Timestamp(seconds, nanoseconds))
    assert unpackb(data) == Timestamp(seconds, nanoseconds)
    for form in (1, 2):
        assert unpackb(data, timestamp=form) == msgpack.unpackb(data, timestamp=form)
    total = seconds * 10**9 + nanoseconds
    assert unpackb(data, timestamp=2) == total and Timestamp.from_nanoseconds(total) == Timestamp(seconds, nanoseconds)


def test_timestamps_as_datetime():
    moment = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    assert packb(moment, datetime=True) == msgpack.packb(moment, datetime=True)
    assert unpackb(packb(moment, datetime=True), timestamp=3) == moment
    assert unpackb(packb(moment, datetime=True)).to_datetime() == moment
    assert Timestamp(1, 999).to_datetime() == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    with pytest.raises(EncodeError, match="without a time zone"):
        packb(datetime(2024, 1, 1), datetime=True)
    with pytest.raises(DecodeError, match="nanoseconds"):
        unpackb(packb(Timestamp(1, 1)), timestamp=3)
    with pytest.raises(ValueError, match="nanoseconds"):
        Timestamp(0, 10**9)
    assert sorted([Timestamp(2), Timestamp(1, 5), Timestamp(1)])[0] == Timestamp(1)


# ---- Options


def test_raw_and_use_bin_type():
    assert packb(b"x", use_bin_type=False) == msgpack.packb(b"x", use_bin_type=False) == b"\xa1x"
    assert unpackb(b"\x82\xa1k\xa1v\xa1\xff\xa0", raw=True) == {b"k": b"v", b"\xff": b""}
    with pytest.raises(DecodeError, match="not UTF-8"):
        unpackb(b"\xa1\xff")


def test_unicode_errors():
    text = "a\udcff" * 3
    data = packb(text, unicode_errors="surrogateescape")
    assert data == msgpack.packb(text, unicode_errors="surrogateescape")
    assert unpackb(data, unicode_errors="surrogateescape") == text and unpackb(data, unicode_errors="replace")[1] == "�"
    assert unpackb(b"\x81\xa1\xff\xc0", unicode_errors="ignore") == {"": None}
    with pytest.raises(EncodeError, match="surrogate"):
        packb(text, unicode_errors="strict")
    with pytest.raises(LookupError):
        packb(text, unicode_errors="no such handler")


def test_use_list():
    assert unpackb(packb([1, [2], {"a": [3]}]), use_list=False) == (1, (2,), {"a": (3,)})
    assert unpackb(b"\x81\x91\x01\x02", use_list=False, strict_map_key=False) == {(1,): 2}


def test_strict_map_key():
    for data in (b"\x81\x01\x02", b"\x81\xc0\x02", b"\x81\x91\x01\x02", b"\x81\xd4\x05\x00\x01"):
        with pytest.raises(DecodeError, match="neither str nor bytes"):
            unpackb(data)
    assert unpackb(b"\x82\x01\x02\xc4\x01x\x03", strict_map_key=False) == {1: 2, b"x": 3}
    assert unpackb(b"\x81\x91\x01\x81\xa1a\x02", strict_map_key=False) == {FrozenList([1]): {"a": 2}}
    assert unpackb(b"\x81\x81\xa1a\x90\x02", strict_map_key=False) == {FrozenDict(a=FrozenList()): 2}
    long = packb({"k" * 40: 1, "k" * 300: 2, b"b" * 70000: 3})
    assert unpackb(long) == {"k" * 40: 1, "k" * 300: 2, b"b" * 70000: 3}


def test_keys_that_are_there_twice_and_keys_that_collide():
    assert unpackb(b"\x83\xa1a\x01\xa1b\x02\xa1a\x03") == {"a": 3, "b": 2}
    collide = b"\x82\x01\xa1i\xcb?\xf0\0\0\0\0\0\0\xa1f"
    with pytest.raises(DecodeError, match=r"the keys 1 and 1\.0"):
        unpackb(collide, strict_map_key=False)
    assert unpackb(collide, keys="strict") == pitcrew.Map([(1, "i"), (1.0, "f")])


def test_keys_that_have_no_form_on_the_wire():
    twice = b"\x82\xd4\x05\x00\x01\xd4\x05\x00\x02"
    assert unpackb(twice, strict_map_key=False, ext_hook=lambda code, data: complex(code)) == {5j / 1j: 2}
    escaped = b"\x82\xa1\xff\x01\xa1\xff\x02"
    assert unpackb(escaped, unicode_errors="surrogateescape") == {"\udcff": 2}


def test_limits():
    assert unpackb(packb([[1]], max_depth=2), max_depth=2) == [[1]]
    with pytest.raises(EncodeError, match="too deeply"):
        packb([[1]], max_depth=1)
    with pytest.raises(DecodeError, match="too deeply"):
        unpackb(b"\x91\x91\x01", max_depth=1)
    assert packb("x" * 9, max_size=10) == b"\xa9" + b"x" * 9
    for value in ("x" * 10, b"x" * 9, list(range(20)), ["x" * 100_000], [1.5] * 20_000):
        with pytest.raises(EncodeError, match="larger than the limit of 10 bytes"):
            packb(value, max_size=10)
    assert unpackb(b"\xa1x", max_size=2) == "x"
    with pytest.raises(DecodeError, match="larger than the limit of 2 bytes"):
        unpackb(b"\xa2xx", max_size=2)


@pytest.mark.parametrize(
    ("function", "options", "error"),
    [
        (packb, {"defualt": None}, TypeError),
        (packb, {"default": 5}, TypeError),
        (packb, {"types": "all"}, ValueError),
        (packb, {"use_bin_type": 1}, TypeError),
        (packb, {"max_depth": 513}, ValueError),
        (packb, {"max_depth": 0}, ValueError),
        (packb, {"max_size": -1}, ValueError),
        (packb, {"max_size": 2**100}, ValueError),
        (packb, {"unicode_errors": 5}, TypeError),
        (unpackb, {"timestamp": 4}, ValueError),
        (unpackb, {"timestamp": None}, ValueError),
        (unpackb, {"keys": "loose"}, ValueError),
        (unpackb, {"raw": "yes"}, TypeError),
        (unpackb, {"ext_hook": 1}, TypeError),
        (unpackb, {"object_hook": dict}, TypeError),
        (pitcrew.Unpacker, {"max_size": 0}, ValueError),
        (pitcrew.Unpacker, {"nothing": 0}, TypeError),
    ],
)
def test_options_that_are_refused(function, options, error):
    arguments = () if function is pitcrew.Unpacker else (b"\xc0",)
    with pytest.raises(error, match=next(iter(options))):
        function(*arguments, **options)


def test_arguments_that_are_refused():
    for arguments in ((), (1, 2)):
        for function in (packb, unpackb):
            with pytest.raises(TypeError, match="one positional argument"):
                function(*arguments)
    with pytest.raises(TypeError):
        unpackb("text")
    with pytest.raises(DecodeError, match="1 bytes follow"):
        unpackb(b"\xc0\xc0")
    for data in (b"", bytearray(b"\x92\x01"), memoryview(b"\xc1")):
        with pytest.raises(DecodeError):
            unpackb(data)


def test_hooks_that_raise_and_hooks_that_call_the_codec():
    def broken(*_):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        packb([1j], default=broken)
    with pytest.raises(LookupError, match="mine"):
        unpackb(packb([Ext(5, b"")]), ext_hook=broken)
    nested = packb([1j, 2j], default=lambda value: Ext(5, packb([value.imag] * 10_000)))
    back = unpackb(nested, ext_hook=lambda code, data: unpackb(data))
    assert back == [[1.0] * 10_000, [2.0] * 10_000]


def test_large_values_one_after_the_other():
    """The buffer that small ones share, and the guess at the next large one's size."""
    for n in (0, 1, 65_520, 65_530, 65_536, 65_540, 131_072, 1_000_000, 10, 70_000, 3_000_000, 65_536):
        for value in (b"x" * n, "é" * (n // 2), [1.5] * (n // 9), ["y" * 100] * (n // 100)):
            assert unpackb(packb(value)) == value
            assert packb(value) == msgpack.packb(value)


def test_threads_do_not_share_a_buffer():
    values = [[i, "x" * 1000, {"k": [1.5] * 50}] * 40 for i in range(4)]
    wrong = []

    def work(value):
        for _ in range(50):
            if unpackb(packb(value, default=str)) != value:
                wrong.append(value[0])

    threads = [threading.Thread(target=work, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_floats_of_every_kind_are_msgpacks():
    for value in (math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1):
        assert packb(value) == msgpack.packb(value)
    assert math.isnan(unpackb(packb(math.nan)))
