"""Round trips of values that nobody has thought of, and bytes that mean harm."""

from datetime import UTC, date, datetime
from decimal import Decimal
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
    Opaque,
    _core,
    packb,
    unpackb,
)
from test_codec import read_vectors, same

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
settings = hypothesis.settings(max_examples=300, deadline=None, database=None)

# ---- Plain MessagePack, beside the msgpack package

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.binary(max_size=40)
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=8) | st.binary(max_size=4), inner),
    max_leaves=60,
)


@settings
@hypothesis.given(PLAIN)
def test_plain_values_are_those_of_msgpack(value):
    msgpack = pytest.importorskip("msgpack")
    data = packb(value)
    assert data == msgpack.packb(value)
    assert same(unpackb(data), value)
    assert same(msgpack.unpackb(data), value)


# ---- Everything that crosses in a call


ZONES = st.just(None) | st.just(UTC) | st.timezones()
HASHABLE = st.recursive(
    SCALARS
    | st.integers()
    | st.builds(Atom, st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False)
    | st.builds(Opaque, st.binary(min_size=16, max_size=30))
    | st.builds(pitcrew.Time, st.integers(0, 23), precision=st.integers(0, 6)),
    lambda inner: (
        st.tuples(inner, inner)
        | st.builds(FrozenList, st.lists(inner, max_size=3))
        | st.frozensets(inner, max_size=3)
        | st.builds(FrozenDict, st.dictionaries(inner, inner, max_size=2))
    ),
    max_leaves=6,
)
EVERYTHING = st.recursive(
    HASHABLE | st.datetimes(timezones=ZONES, allow_imaginary=False) | st.sets(HASHABLE, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5) | st.tuples(inner, inner) | st.dictionaries(HASHABLE, inner, max_size=5)
    ),
    max_leaves=20,
)


@settings
@hypothesis.given(EVERYTHING)
def test_every_type_comes_back_or_an_error_says_why(value):
    try:
        data = _core.encode(value)
    except EncodeError as error:
        assert "would be one term" in error.reason  # b"a" and "a" as keys of one dict
        return
    back = _core.decode(data)
    assert back == thawed(value)
    assert thawed(_core.decode(_core.encode(back))) == thawed(back)


def thawed(value):
    """What a value is when it has crossed: a frozen one outside of a key is not frozen any more."""
    if isinstance(value, FrozenList):
        return [thawed(item) for item in value]
    if isinstance(value, list):
        return [thawed(item) for item in value]
    if isinstance(value, tuple):
        return tuple(map(thawed, value))
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    return set(value) if isinstance(value, frozenset) else value


# ---- Hostile bytes

VECTORS = [
    pytest.param(param.values[0], id=param.id)
    for name in ("codec_both.tsv", "codec_read.tsv", "codec_bad.tsv")
    for param in read_vectors(name)
]
OURS = [
    _core.encode(value)
    for value in (
        {1, (2,)},
        date(2024, 1, 2),
        pitcrew.DateTime(2024, 1, 2, precision=2),
        datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        Decimal("-12.5"),
        pitcrew.Tensor("<i2", (2, 1), bytes(4)),
        Opaque(b"o" * 17),
        2**80,
    )
]
OPTIONS = (
    {},
    {"types": "pitcrew"},
    {"types": "pitcrew", "keys": "strict", "use_list": False},
    {"raw": True, "strict_map_key": False, "timestamp": 3},
)


def read(data):
    """Any value or a DecodeError, in every way there is; a crash is what is looked for."""
    for options in OPTIONS:
        try:
            unpackb(data, **options)
        except DecodeError as error:
            assert error.reason
    unpacker = pitcrew.Unpacker(types="pitcrew")
    unpacker.feed(data)
    try:
        list(unpacker)
    except DecodeError as error:
        assert error.reason


@pytest.mark.parametrize("data", [*VECTORS, *(pytest.param(data, id=data.hex()) for data in OURS)])
def test_every_cut_and_every_changed_byte(data):
    cuts = range(len(data)) if len(data) < 400 else [*range(200), *range(len(data) - 200, len(data))]
    for n in cuts:
        read(data[:n])
    for at in cuts if len(data) < 400 else [*range(20), len(data) // 2, len(data) - 1]:
        for byte in range(256) if len(data) < 40 else (0, 1, 0x7F, 0x80, 0xA1, 0xC1, 0xC7, 0xD9, 0xDD, 0xDF, 0xFF):
            read(data[:at] + bytes([byte]) + data[at + 1 :])


@settings
@hypothesis.given(st.binary(max_size=60))
def test_arbitrary_bytes(data):
    read(data)


@settings
@hypothesis.given(st.integers(1, 13), st.binary(max_size=40) | PLAIN.map(packb))
def test_arbitrary_payloads_of_our_extensions(code, payload):
    read(packb([Ext(code, payload)]))
    read(packb({"a": Ext(4, packb([Ext(code, payload)]))}))


@settings
@hypothesis.given(st.binary(max_size=60))
def test_what_was_read_is_written_and_read_again(data):
    try:
        value = unpackb(data, strict_map_key=False)
    except DecodeError:
        return
    again = packb(value)
    assert packb(unpackb(again, strict_map_key=False)) == again
