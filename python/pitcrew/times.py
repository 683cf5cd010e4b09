"""Times with a precision, and time zones of the VM. Imported when the first of them crosses.

The VM's times say how many digits of their fraction count; Python's have always six. A time whose precision Python's
own types would lose arrives as a subclass that equals the plain value and goes back with the same precision.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone, tzinfo

from ._core import EncodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

_UTC = ("Etc/UTC", "UTC", 0, 0)  # the VM's
_NAMES_OF_UTC = (_UTC[0], "UTC")
_ZERO = timedelta(0)
_SECOND = timedelta(seconds=1)


def _natural(microsecond: int) -> int:
    return 6 if microsecond else 0


def _checked(precision: int | None) -> int | None:
    if precision is not None and (not isinstance(precision, int) or not 0 <= precision <= 6):
        raise ValueError(f"precision must be a number from 0 to 6, not {precision!r}")
    return precision


class Time(time):
    """A datetime.time with `precision`, the number of digits of its fraction that count."""

    _precision: int | None = None  # what `replace` makes has not been through __new__

    def __new__(cls, *args: Any, precision: int | None = None, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self._precision = _checked(precision)
        return self

    @property
    def precision(self) -> int:
        return _natural(self.microsecond) if self._precision is None else self._precision

    def __reduce_ex__(self, protocol: Any) -> Any:
        parts = (self.hour, self.minute, self.second, self.microsecond, self.tzinfo)
        return _restore, (type(self), parts, self.fold, self.precision)


class DateTime(datetime):
    """A datetime.datetime with `precision`; what is computed from it has the precision that its microseconds need."""

    _precision: int | None = None  # what `replace` makes has not been through __new__

    def __new__(cls, *args: Any, precision: int | None = None, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args, **kwargs)
        self._precision = _checked(precision)
        return self

    @property
    def precision(self) -> int:
        return _natural(self.microsecond) if self._precision is None else self._precision

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _restore, (type(self), _parts(self), self.fold, self.precision)


def _parts(moment: datetime) -> tuple[Any, ...]:
    m = moment
    return m.year, m.month, m.day, m.hour, m.minute, m.second, m.microsecond, m.tzinfo


def _restore(kind: Any, parts: tuple[Any, ...], fold: int, precision: int) -> Any:
    return kind(*parts, fold=fold, precision=precision)


class Zone(tzinfo):
    """A time zone at one moment, as the VM told it: where zoneinfo has none of that name, or another opinion of it."""

    def __init__(self, name: str, abbreviation: str, utc_offset: int, std_offset: int = 0) -> None:
        self.name = name
        self.abbreviation = abbreviation
        self.utc_offset = utc_offset
        self.std_offset = std_offset

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(seconds=self.utc_offset + self.std_offset)

    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(seconds=self.std_offset)

    def tzname(self, moment: datetime | None) -> str:
        return self.abbreviation

    def fromutc(self, moment: datetime) -> datetime:
        return moment + self.utcoffset(moment)

    def _key(self) -> tuple[str, str, int, int]:
        return self.name, self.abbreviation, self.utc_offset, self.std_offset

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Zone) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Zone{self._key()!r}"

    def __reduce__(self) -> tuple[type[Zone], tuple[str, str, int, int]]:
        return Zone, self._key()


# ---- What the decoder calls


def make_time(hour: int, minute: int, second: int, microsecond: int, precision: int) -> Time:
    return Time(hour, minute, second, microsecond, precision=precision)


def make_datetime(moment: datetime, precision: int) -> DateTime:
    return DateTime(*_parts(moment), fold=moment.fold, precision=precision)


def make_zoned(moment: datetime, precision: int, name: str, abbreviation: str, utc: int, std: int) -> datetime:
    """A naive moment and its zone."""
    zoned = _in_zone(moment, (name, abbreviation, utc, std))
    return zoned if precision == _natural(moment.microsecond) else make_datetime(zoned, precision)


def _in_zone(moment: datetime, zone: tuple[str, str, int, int]) -> datetime:
    name, abbreviation, utc, std = zone
    if (name, abbreviation, utc, std) == _UTC:
        return moment.replace(tzinfo=UTC)
    fixed = timezone(timedelta(seconds=utc))
    if utc != 0 and std == 0 and name == abbreviation == fixed.tzname(None):
        return moment.replace(tzinfo=fixed)
    found = _zone_info(name)
    if found is not None:
        for fold in (0, 1):
            zoned = moment.replace(tzinfo=found, fold=fold)
            if describe_zone(zoned)[:4] == zone:
                return zoned
    return moment.replace(tzinfo=Zone(*zone))


def _zone_info(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # no name of a zone, or a folder of them; none of that name
        return None


# ---- What the encoder calls


def describe_zone(moment: datetime) -> tuple[str, str, int, int, bool]:
    """Zone, abbreviation, seconds from UTC without and for summer time, and whether it is UTC itself."""
    tz, total = moment.tzinfo, moment.utcoffset()
    if tz is None or total is None:
        raise EncodeError("a datetime whose time zone has no offset from UTC")
    if isinstance(tz, Zone):
        return (*tz._key(), False)
    std = moment.dst() or _ZERO
    if total % _SECOND or std % _SECOND:
        raise EncodeError("a time zone whose offset is no whole number of seconds")
    abbreviation = moment.tzname() or timezone(total).tzname(None)
    name = next((key for key in (getattr(tz, "key", None), getattr(tz, "zone", None)) if isinstance(key, str)), None)
    is_utc = abbreviation == "UTC" and total == std == _ZERO and (name is None or name in _NAMES_OF_UTC)
    if is_utc:
        name = _UTC[0]
    return name or abbreviation, abbreviation, (total - std) // _SECOND, std // _SECOND, is_utc
