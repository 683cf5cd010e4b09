"""Dates, times and decimals: bytes as docs/protocol.md has them, both ways, at every edge."""

import copy
import pickle
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from zoneinfo import ZoneInfo

import pitcrew
import pytest
from harness import run_python
from pitcrew import DateTime, DecodeError, EncodeError, Time, Zone, _core

UTC = UTC
BERLIN = ZoneInfo("Europe/Berlin")


def ext(code, payload):
    return _core.packb(pitcrew.Ext(code, payload))


def raw(code, fields):
    return ext(code, _core.packb(fields))


def same_moment(a, b):
    """Equal, with the same zone, fold and precision."""
    if type(a) is not type(b) or a != b:
        return False
    attributes = ("tzinfo", "utcoffset", "tzname", "precision")
    return all(_of(a, name) == _of(b, name) for name in attributes)


def _of(value, name):
    found = getattr(value, name, None)
    return found() if callable(found) else found


@pytest.mark.parametrize(
    ("value", "code", "fields"),
    [
        (date(1, 1, 1), 5, [1, 1, 1]),
        (date(9999, 12, 31), 5, [9999, 12, 31]),
        (date(2024, 2, 29), 5, [2024, 2, 29]),
        (time(0, 0, 0), 6, [0, 0, 0, 0, 0]),
        (time(23, 59, 59, 999999), 6, [23, 59, 59, 999999, 6]),
        (time(1, 2, 3, 4), 6, [1, 2, 3, 4, 6]),
        (Time(1, 2, 3, precision=3), 6, [1, 2, 3, 0, 3]),
        (Time(1, 2, 3, 120000, precision=2), 6, [1, 2, 3, 120000, 2]),
        (Time(1, 2, 3, precision=6), 6, [1, 2, 3, 0, 6]),
        (datetime(1, 1, 1), 7, [1, 1, 1, 0, 0, 0, 0, 0]),
        (datetime(9999, 12, 31, 23, 59, 59, 999999), 7, [9999, 12, 31, 23, 59, 59, 999999, 6]),
        (DateTime(2024, 1, 2, 3, 4, 5, precision=1), 7, [2024, 1, 2, 3, 4, 5, 0, 1]),
        (datetime(2024, 7, 1, tzinfo=BERLIN), 8, [2024, 7, 1, 0, 0, 0, 0, 0, "Europe/Berlin", "CEST", 3600, 3600]),
        (datetime(2024, 1, 1, tzinfo=BERLIN), 8, [2024, 1, 1, 0, 0, 0, 0, 0, "Europe/Berlin", "CET", 3600, 0]),
        (
            datetime(2024, 1, 1, 0, 0, 0, 5, timezone(timedelta(hours=-3, minutes=-30))),
            8,
            [2024, 1, 1, 0, 0, 0, 5, 6, "UTC-03:30", "UTC-03:30", -12600, 0],
        ),
        (
            DateTime(2024, 1, 1, tzinfo=UTC, precision=3),
            8,
            [2024, 1, 1, 0, 0, 0, 0, 3, "Etc/UTC", "UTC", 0, 0],
        ),
        (
            datetime(2024, 1, 1, tzinfo=Zone("Mars/Base", "MBT", 2400, 1200)),
            8,
            [2024, 1, 1, 0, 0, 0, 0, 0, "Mars/Base", "MBT", 2400, 1200],
        ),
        (
            datetime(2024, 1, 1, tzinfo=ZoneInfo("Africa/Abidjan")),
            8,
            [2024, 1, 1, 0, 0, 0, 0, 0, "Africa/Abidjan", "GMT", 0, 0],
        ),
    ],
)
def test_dates_and_times(value, code, fields):
    back = _core.decode(raw(code, fields))
    assert same_moment(back, value)
    sent = _core.packb(value, types="pitcrew")
    assert pitcrew.unpackb(sent, timestamp=0) == pitcrew.unpackb(raw(code, fields), timestamp=0), "same extension"
    assert same_moment(_core.decode(sent), value)
    for twin in (copy.copy(back), copy.deepcopy(back), pickle.loads(pickle.dumps(back))):
        assert same_moment(twin, back)


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), "00000000"),
        (datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC), "ffffffff"),
        (datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC), "0000000100000000"),
        (datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), "00000fa000000000"),
        (datetime(2514, 5, 30, 1, 53, 3, 999999, tzinfo=UTC), "ee6b18 63ffffffff".replace(" ", "")),
        (datetime(2514, 5, 30, 1, 53, 4, tzinfo=UTC), "000000000000000400000000"),
        (datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), "00000000ffffffffffffffff"),
        (datetime(1, 1, 1, tzinfo=UTC), "00000000fffffff1886e0900"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "3b9ac618000000 3afff4417f".replace(" ", "")),
    ],
)
def test_timestamps(value, payload):
    data = ext(-1, bytes.fromhex(payload))
    assert _core.encode(value) == data
    back = _core.decode(data)
    assert back == value and back.tzinfo is UTC and type(back) is datetime


def test_every_way_to_say_utc_is_a_timestamp():
    plain = _core.encode(datetime(2024, 1, 1, tzinfo=UTC))
    for zone in (ZoneInfo("UTC"), ZoneInfo("Etc/UTC"), timezone(timedelta(0)), timezone(timedelta(0), "UTC")):
        assert _core.encode(datetime(2024, 1, 1, tzinfo=zone)) == plain
    assert _core.encode(DateTime(2024, 1, 1, tzinfo=UTC)) == plain
    assert _core.encode(datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "GMT"))) != plain


def test_the_hour_that_comes_twice():
    for fold in (0, 1):
        moment = datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=BERLIN)
        back = _core.decode(_core.encode(moment))
        assert back.fold == fold and back.utcoffset() == moment.utcoffset() and back.tzinfo is BERLIN


def test_a_zone_that_disagrees_is_kept_as_it_was_told():
    fields = [2024, 7, 1, 12, 0, 0, 0, 0, "Europe/Berlin", "CET", 3600, 0]  # in July
    back = _core.decode(raw(8, fields))
    assert back.tzinfo == Zone("Europe/Berlin", "CET", 3600, 0) and back.utcoffset() == timedelta(hours=1)
    assert back == datetime(2024, 7, 1, 11, tzinfo=UTC) and back.tzname() == "CET"
    assert back.astimezone(UTC).hour == 11 and datetime(2024, 7, 1, 11, tzinfo=UTC).astimezone(back.tzinfo) == back
    assert pitcrew.unpackb(_core.encode(back)) == pitcrew.unpackb(raw(8, fields)), "goes back unchanged"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "/etc/localtime", "Europe", "x\0y", "é" * 300])
def test_names_that_are_no_zone(name):
    back = _core.decode(raw(8, [2024, 7, 1, 12, 0, 0, 0, 0, name, "X", 60, 0]))
    assert back.tzinfo == Zone(name, "X", 60, 0)


def test_a_precision_equals_the_plain_value():
    precise = _core.decode(raw(7, [2024, 1, 2, 3, 4, 5, 0, 3]))
    assert isinstance(precise, DateTime) and precise.precision == 3
    assert precise == datetime(2024, 1, 2, 3, 4, 5) and hash(precise) == hash(datetime(2024, 1, 2, 3, 4, 5))
    assert precise.replace(microsecond=7).precision == 6 and (precise + timedelta(1)).precision == 0
    assert Time(1, 2, 3, precision=3) == time(1, 2, 3) and Time(1).precision == 0 and Time(1, 0, 0, 1).precision == 6
    with pytest.raises(ValueError, match="precision"):
        Time(1, precision=7)


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        (5, [2023, 2, 29]),
        (5, [2024, 13, 1]),
        (5, [2024, 1]),
        (5, [2024, 1, 1, 1]),
        (5, [2024, 1, "1"]),
        (5, [10000, 1, 1]),
        (5, 7),
        (6, [24, 0, 0, 0, 0]),
        (6, [0, 60, 0, 0, 0]),
        (6, [0, 0, 60, 0, 0]),
        (6, [0, 0, 0, 1000000, 6]),
        (6, [0, 0, 0, 0, 7]),
        (6, [0, 0, 0, 0, -1]),
        (7, [2024, 1, 1, 0, 0, 0, 0]),
        (7, [2024, 0, 1, 0, 0, 0, 0, 0]),
        (8, [2024, 1, 1, 0, 0, 0, 0, 0, "Etc/UTC", "UTC", 0]),
        (8, [2024, 1, 1, 0, 0, 0, 0, 0, "Etc/UTC", 7, 0, 0]),
        (8, [2024, 1, 1, 0, 0, 0, 0, 0, "X", "X", 86400, 0]),
        (8, [2024, 1, 1, 0, 0, 0, 0, 0, "X", "X", 2**62, 2**62]),
        (8, [2024, 1, 1, 0, 0, 0, 0, 0, "X", "X", 86399, 1]),
        (9, [0, 1, 0]),
        (9, [1, -1, 0]),
        (9, [1, "nan", 0]),
        (9, [1, 1.5, 0]),
        (9, [1, 1]),
        (9, [1, 1, "0"]),
        (9, [1, 1, 2**63]),
        (9, [1, 1, 10**18]),
        (9, [1, [], 0]),
    ],
)
def test_what_does_not_exist_is_refused(code, fields):
    with pytest.raises(DecodeError) as caught:
        _core.decode(_core.packb([0, pitcrew.Ext(code, _core.packb(fields))]))
    assert caught.value.path == (1,) and caught.value.reason.startswith("a ")


def test_years_that_python_does_not_have():
    for year in (0, -1, -9999):
        for code, rest in ((5, []), (7, [0] * 5), (8, [0, 0, 0, 0, 0, "Etc/UTC", "UTC", 0, 0])):
            with pytest.raises(DecodeError, match=f"year {year}: Python's years are those from 1 to 9999"):
                _core.decode(raw(code, [year, 1, 1, *rest]))
    for seconds in (-(2**63), 2**63 - 1, 253402300800, -62135596801):
        with pytest.raises(DecodeError, match="years from 1 to 9999"):
            _core.decode(_core.packb(pitcrew.Timestamp(seconds)))


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", bytes(5), bytes(13), b"\xff" * 8, b"\xff" * 4 + bytes(8)])
def test_timestamps_that_are_none(payload):
    with pytest.raises(DecodeError, match="a timestamp that is not"):
        _core.decode(ext(-1, payload))


def test_nanoseconds_have_no_place_in_a_call():
    with pytest.raises(DecodeError, match="nanoseconds"):
        _core.decode(_core.packb(pitcrew.Timestamp(1, 1)))


class Nowhere(tzinfo):
    def utcoffset(self, moment):
        return None


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (time(1, tzinfo=UTC), "a time with a time zone"),
        (datetime(2024, 1, 1, tzinfo=Nowhere()), "has no offset"),
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(microseconds=5))), "whole number of seconds"),
        (timedelta(1), "datetime.timedelta"),
        (Decimal("sNaN"), "signaling NaN"),
        (Decimal("NaN12"), "diagnostic digits"),
    ],
)
def test_what_has_no_form(value, word):
    with pytest.raises(EncodeError, match=word) as caught:
        _core.encode({"a": [value]})
    assert caught.value.path == ("a", 0)


# ---- Decimals


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("0", [1, 0, 0]),
        ("-0", [-1, 0, 0]),
        ("1.50", [1, 150, -2]),
        ("-12E+5", [-1, 12, 5]),
        ("NaN", [1, "NaN", 0]),
        ("-NaN", [-1, "NaN", 0]),
        ("Infinity", [1, "inf", 0]),
        ("-Infinity", [-1, "inf", 0]),
        ("9223372036854775807", [1, 2**63 - 1, 0]),
        ("9223372036854775808E-3", [1, 2**63, -3]),
        ("18446744073709551615", [1, 2**64 - 1, 0]),
        ("1E+999999999999999999", [1, 1, 999999999999999999]),
    ],
)
def test_decimals(text, fields):
    value = Decimal(text)
    back = _core.decode(raw(9, fields))
    assert type(back) is Decimal and back.as_tuple() == value.as_tuple()
    sent = pitcrew.unpackb(_core.encode(value))
    assert sent.type == 9 and pitcrew.unpackb(sent.data) == fields


@pytest.mark.parametrize("word", ["NaN", "inf"])
def test_a_decimal_that_is_not_finite_has_no_exponent(word):
    with pytest.raises(DecodeError, match="has an exponent"):
        _core.decode(raw(9, [1, word, 3]))


def test_decimals_of_many_digits_whatever_the_context_says():
    for digits in (18, 19, 20, 4300, 4301, 20_000):
        for value in (Decimal("9" * digits), -Decimal("1" + "0" * (digits - 1)), Decimal("7" * digits + "E-5")):
            with localcontext() as context:
                context.prec = 3
                back = _core.decode(_core.encode(value))
            assert back.as_tuple() == value.as_tuple()


def test_the_modules_are_imported_when_they_are_needed():
    done = run_python(
        """
import sys
import pitcrew
from pitcrew import _core
_core.encode([1, "a", {1}, 2**70])
print(*(name in sys.modules for name in ("datetime", "decimal", "zoneinfo", "numpy", "pitcrew.terms", "pitcrew.times")))
_core.decode(bytes.fromhex("d6ff00000000"))
print("datetime" in sys.modules, "zoneinfo" in sys.modules)
"""
    )
    assert done.stdout == "False False False False False False\nTrue False\n", done.stderr
