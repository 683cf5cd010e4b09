"""Keys and elements: those that would be one term in the VM, and the paths of errors about them."""

import math
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pitcrew import Atom, DecodeError, EncodeError, Ext, FrozenDict, FrozenList, Map, Timestamp, _core, packb, unpackb

NAN = float("nan")
TWINS = [
    ("a", b"a"),
    ("", b""),
    ("é", "é".encode()),
    ("a", memoryview(b"a")),
    (("x", 1, "a"), ("x", 1, b"a")),
    (FrozenList(["a"]), FrozenList([b"a"])),
    (frozenset(["a"]), frozenset([b"a"])),
    (FrozenDict(k="a"), FrozenDict(k=b"a")),
    (None, Atom("nil")),
    (True, Atom("true")),
    (False, Atom("false")),
    (NAN, float("nan")),
    (NAN, -NAN),
    ((NAN,), (float("nan"),)),
    (NAN, Atom("nan")),
    (math.inf, Atom("infinity")),
    (-math.inf, Atom("neg_infinity")),
    (Decimal("NaN"), Decimal("NaN")),
]
APART = [
    (Atom("a"), b"a"),
    ("nil", None),
    ("true", True),
    (b"\xff", "\xff"),
    (("a", b"b"), (b"a", "c")),
    (FrozenList(["a"]), (b"a",)),
    (NAN, math.inf),
    (Atom("nile"), None),
]


@pytest.mark.parametrize(("a", "b"), TWINS)
def test_what_would_be_one_term_is_refused(a, b):
    for value in ({a: 1, "between": 2, b: 3}, {b: 3, a: 1}, Map([(b, 1), (a, 2)]), {a, b}, frozenset([7, a, b])):
        with pytest.raises(EncodeError, match="would be one term in the VM") as caught:
            _core.encode([{"here": value}])
        assert caught.value.path == (0, "here")
        with pytest.raises(EncodeError, match="would be one term"):
            packb(value, types="pitcrew")


@pytest.mark.parametrize(("a", "b"), APART)
def test_what_would_not_be_is_sent(a, b):
    assert len(_core.decode(_core.encode({a: 1, b: 2}))) == 2
    assert len(_core.decode(_core.encode({a, b}))) == 2


def test_strangers_have_both():
    assert unpackb(packb({"a": 1, b"a": 2})) == {"a": 1, b"a": 2}


def test_moments_of_two_types_that_are_one_extension():
    twins = {Timestamp(1): 1, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC): 2}
    with pytest.raises(EncodeError, match="would be one term"):
        packb(twins, types="pitcrew")


def test_a_key_nested_without_end_is_too_deep():
    """Deeper than C's stack would bear; made of instances that are hashed by their identity."""

    class Link(tuple):
        __hash__ = object.__hash__
        __eq__ = object.__eq__

    for kind in (Link, lambda items: tuple(items)):
        key = kind([1])
        for _ in range(600):
            key = kind([key])
        with pytest.raises(EncodeError, match="nested too deeply"):
            _core.encode({key: 1, "a": 2})


# ---- Paths


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ({(1, 1j): 2}, "the key"),
        ({((1, 1j),)}, "the element"),
        ({frozenset([(1j,)])}, "the element"),
        (Map([(FrozenDict(a=1j), 2)]), "the key"),
    ],
)
def test_the_path_to_a_key_that_cannot_be_sent_leads_to_the_map(value, word):
    with pytest.raises(EncodeError, match=word) as caught:
        _core.encode([1, {"here": value}])
    assert caught.value.path == (1, "here")


EARLY = Ext(5, packb([0, 1, 1]))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (packb({Ext(3, packb([1, EARLY])): 2}), "in a key: a date in the year 0"),
        (packb({1: 1, EARLY: 2}), "in a key: a date"),
        (packb(Ext(4, packb([1, [2, EARLY]]))), "in an element: a date"),
        (packb({Ext(4, packb([EARLY])): 1}), "in a key: in an element: a date"),
        (packb({Ext(3, packb([{"k": EARLY}])): 2}), "in a key: a date"),
        (packb({Ext(3, packb([Ext(4, b"\x92\x01\xcb?\xf0\0\0\0\0\0\0")])): 2}), "in a key: the elements 1 and 1.0"),
    ],
)
def test_the_path_to_a_key_that_cannot_be_read_leads_to_the_map(value, reason):
    with pytest.raises(DecodeError) as caught:
        _core.decode(b"\x92\x01\x81\xa4here" + value)
    assert caught.value.path == (1, "here")
    assert caught.value.reason.startswith(reason)
