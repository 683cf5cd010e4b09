"""Values that Python has no type for, and that go back as they came. Imported when the first of them arrives."""

from __future__ import annotations

from datetime import UTC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

_NANOSECONDS = 1_000_000_000


class Opaque:
    """A term of the VM that only the VM understands: a pid, a reference, a bitstring, an improper list.

    It is equal to another one of the same bytes, can be a key, and goes back as the term it was. Only the VM that made
    it takes it back: `data` starts with its signature, so `repr` does not show it.
    """

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)

    @property
    def data(self) -> bytes:
        return self._data

    def __eq__(self, other: object) -> bool:
        return self._data == other._data if isinstance(other, Opaque) else NotImplemented

    def __hash__(self) -> int:
        return hash((Opaque, self._data))

    def __repr__(self) -> str:
        return f"<pitcrew.Opaque, {len(self._data)} bytes>"

    def __reduce__(self) -> tuple[type[Opaque], tuple[bytes]]:
        return Opaque, (self._data,)


class Ext:
    """An extension of MessagePack that has no meaning here: a number from -128 to 127, and bytes."""

    __slots__ = ("data", "type")

    data: bytes
    type: int

    def __init__(self, type: int, data: bytes) -> None:
        if not isinstance(type, int) or not -128 <= type <= 127:
            raise ValueError(f"Ext: type must be a number from -128 to 127, not {type!r}")
        object.__setattr__(self, "type", type)
        object.__setattr__(self, "data", bytes(data))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Ext cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        return (self.type, self.data) == (other.type, other.data) if isinstance(other, Ext) else NotImplemented

    def __hash__(self) -> int:
        return hash((Ext, self.type, self.data))

    def __repr__(self) -> str:
        return f"Ext({self.type}, {self.data!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return Ext, (self.type, self.data)


class Timestamp:
    """MessagePack's timestamp: seconds since 1970-01-01 UTC and 0 to 999,999,999 nanoseconds after them."""

    __slots__ = ("nanoseconds", "seconds")

    nanoseconds: int
    seconds: int

    def __init__(self, seconds: int, nanoseconds: int = 0) -> None:
        if not -(2**63) <= seconds < 2**63:
            raise ValueError(f"Timestamp: seconds must fit 64 bits: {seconds!r}")
        if not 0 <= nanoseconds < _NANOSECONDS:
            raise ValueError(f"Timestamp: nanoseconds must lie between 0 and 999999999: {nanoseconds!r}")
        object.__setattr__(self, "seconds", seconds)
        object.__setattr__(self, "nanoseconds", nanoseconds)

    @classmethod
    def from_nanoseconds(cls, nanoseconds: int) -> Timestamp:
        """Of nanoseconds since 1970."""
        return cls(*divmod(nanoseconds, _NANOSECONDS))

    def to_nanoseconds(self) -> int:
        return self.seconds * _NANOSECONDS + self.nanoseconds

    def to_datetime(self) -> datetime:
        """The moment in UTC, cut to microseconds."""
        from datetime import datetime, timedelta

        since = timedelta(seconds=self.seconds, microseconds=self.nanoseconds // 1000)
        return datetime(1970, 1, 1, tzinfo=UTC) + since

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Timestamp cannot be changed: {name}")

    def _parts(self) -> tuple[int, int]:
        return self.seconds, self.nanoseconds

    def __eq__(self, other: object) -> bool:
        return self._parts() == other._parts() if isinstance(other, Timestamp) else NotImplemented

    def __lt__(self, other: Any) -> bool:
        return self._parts() < other._parts() if isinstance(other, Timestamp) else NotImplemented

    def __hash__(self) -> int:
        return hash((Timestamp, *self._parts()))

    def __repr__(self) -> str:
        return f"Timestamp({self.seconds}, {self.nanoseconds})"

    def __reduce__(self) -> tuple[type[Timestamp], tuple[int, int]]:
        return Timestamp, self._parts()
