"""A mapping for maps whose keys are equal in Python and different in the VM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping

from ._core import Atom, FrozenDict, FrozenList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLAIN = (str, bytes, int, float, bool, type(None))


class Map(MutableMapping):  # type: ignore[type-arg]
    """Keeps 1, 1.0 and True apart, and "a" and Atom("a"), as the VM does: a key is found by its type as well.

    >>> m = Map([(1, "int"), (1.0, "float"), (True, "atom")])
    >>> m[1], m[1.0], m[True]
    ('int', 'float', 'atom')

    It arrives for a map that a dict cannot hold when the call asks for `keys: :strict`, and goes back as that map.
    Equal to another Map with the same keys and values, and to a dict if its keys are the same by type too.
    """

    __slots__ = ("_pairs",)

    def __init__(self, items: Any = (), /) -> None:
        self._pairs: dict[object, tuple[object, Any]] = {}
        self.update(items)

    def __getitem__(self, key: object) -> Any:
        try:
            return self._pairs[_identity(key)][1]
        except KeyError:
            raise KeyError(key) from None

    def __setitem__(self, key: object, value: Any) -> None:
        identity = _identity(key)
        first = self._pairs.get(identity)
        self._pairs[identity] = (key if first is None else first[0], value)

    def __delitem__(self, key: object) -> None:
        try:
            del self._pairs[_identity(key)]
        except KeyError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[object]:
        return (key for key, _ in self._pairs.values())

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, key: object) -> bool:
        return _identity(key) in self._pairs

    def __eq__(self, other: object) -> bool:
        if isinstance(other, dict):
            other = Map(other)
        if not isinstance(other, Map):
            return NotImplemented
        return _values(self) == _values(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Map({list(self._pairs.values())!r})"

    def copy(self) -> Map:
        return Map(self)

    __copy__ = copy

    def __reduce__(self) -> tuple[type[Map], tuple[list[tuple[object, Any]]]]:
        return Map, (list(self._pairs.values()),)


def _values(of: Map) -> dict[object, Any]:
    return {identity: value for identity, (_, value) in of._pairs.items()}


def _identity(key: object) -> object:
    """What tells keys apart: equal for two keys that are one term in the VM."""
    kind = type(key)
    if kind in _PLAIN or kind is Atom:
        return kind, key
    if isinstance(key, tuple):
        return tuple, tuple(map(_identity, key))
    if isinstance(key, FrozenList):
        return FrozenList, tuple(map(_identity, key))
    if isinstance(key, FrozenDict):
        return FrozenDict, frozenset((_identity(k), _identity(v)) for k, v in key.items())
    if isinstance(key, frozenset):
        return frozenset, frozenset(map(_identity, key))
    if isinstance(key, Atom):
        return Atom, str(key)
    base = next((plain for plain in _PLAIN if isinstance(key, plain)), kind)
    return base, key


def of_pairs(pairs: Iterable[tuple[object, Any]]) -> Map:
    """What the decoder calls; a key that is there twice has its last value."""
    return Map(pairs)
