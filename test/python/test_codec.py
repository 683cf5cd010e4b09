"""Python objects to MessagePack and back, and what has no form on the wire."""

import enum
import json
import math
import struct
from collections import OrderedDict, defaultdict, namedtuple
from fractions import Fraction
from pathlib import Path

import pytest
from harness import run_python
from pitcrew import Atom, DecodeError, EncodeError, FrozenDict, FrozenList, _core

VECTORS = Path(__file__).resolve().parent.parent / "vectors"


def read_vectors(name):
    for line in (VECTORS / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            title, data, rest = line.split("\t")
            yield pytest.param(bytes.fromhex(data), rest, id=f"{name}: {title}")


def value_of(spec):
    """A value from its description in the vectors."""
    kind, *rest = spec
    simple = {
        "nil": lambda: None,
        "bool": lambda: rest[0] == "true",
        "int": lambda: int(rest[0]),
        "float": lambda: float(rest[0]),
        "str": lambda: rest[0],
        "strx": lambda: bytes.fromhex(rest[0]).decode(),
        "bin": lambda: bytes.fromhex(rest[0]),
        "atom": lambda: Atom(rest[0]),
        "atomx": lambda: Atom(bytes.fromhex(rest[0]).decode()),
        "array": lambda: [value_of(item) for item in rest],
        "tuple": lambda: tuple(value_of(item) for item in rest),
        "map": lambda: {freeze(value_of(k)): value_of(v) for k, v in zip(rest[::2], rest[1::2], strict=True)},
    }
    return simple[kind]()


def freeze(value):
    if isinstance(value, list):
        return FrozenList(value)
    return FrozenDict(value) if isinstance(value, dict) else value


def same(a, b):
    """Equal, of one type, all the way down; nan is nan, and -0.0 is not 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack(">d", a) == struct.pack(">d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(map(same, a, b)) and all(same(a[k], b[k]) for k in a)
    return a == b


@pytest.mark.parametrize(("data", "spec"), [*read_vectors("codec_both.tsv")])
def test_vectors_that_go_both_ways(data, spec):
    value = value_of(json.loads(spec))
    assert same(_core.decode(data), value)
    assert _core.encode(value) == data


@pytest.mark.parametrize(("data", "spec"), [*read_vectors("codec_read.tsv")])
def test_vectors_that_are_read(data, spec):
    assert same(_core.decode(data), value_of(json.loads(spec)))


@pytest.mark.parametrize(("data", "why"), [*read_vectors("codec_bad.tsv")])
def test_vectors_that_are_refused(data, why):
    with pytest.raises(DecodeError) as caught:
        _core.decode(data)
    assert why in ("truncated", "invalid", "too_deep")
    if why == "too_deep":
        assert "nested too deeply" in caught.value.reason
    if why == "truncated":
        assert "ends inside" in caught.value.reason


@pytest.mark.parametrize(("data", "spec"), [*read_vectors("codec_both.tsv")])
def test_every_cut_of_a_vector_is_refused(data, spec):
    for n in range(len(data)):
        with pytest.raises(DecodeError):
            _core.decode(data[:n])
    with pytest.raises(DecodeError, match="1 bytes follow"):
        _core.decode(data + b"\xc0")


# ---- Types


class Number(enum.IntEnum):
    ONE = 1


class Color(str, enum.Enum):
    RED = "red"


class Meters(float):
    pass


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Number.ONE, 1),
        (Color.RED, "red"),
        (Meters(1.5), 1.5),
        (Point(1, 2), (1, 2)),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (FrozenList([1, [2]]), [1, [2]]),
        (FrozenDict(a={"b": 1}), {"a": {"b": 1}}),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[1:3], b"bc"),
        (memoryview(struct.pack("2d", 1, 2)).cast("d").cast("B"), struct.pack("2d", 1, 2)),
        (type("Sub", (Atom,), {})("ok"), Atom("ok")),
        (type("Text", (str,), {})("ok"), "ok"),
    ],
)
def test_subclasses_and_relatives(value, arrives):
    assert same(_core.decode(_core.encode(value)), arrives)


def test_integers_at_every_edge():
    for bits in (7, 8, 15, 16, 31, 32, 63, 64, 65, 127, 128, 1000, 100_000):
        for value in (2**bits - 1, 2**bits, 2**bits + 1):
            for signed in (value, -value):
                assert _core.decode(_core.encode(signed)) == signed


def test_strings_at_every_edge():
    for n in (0, 1, 31, 32, 33, 255, 256, 257, 65535, 65536):
        for char in "aé€😀":
            assert _core.decode(_core.encode(char * n)) == char * n


def test_every_kind_of_key():
    value = {None: 0, True: 1, 2: 2, 3.5: 3, "s": 4, b"b": 5, (1, ("x",)): 6, Atom("a"): 7, 2**70: 8}
    value[FrozenList([1, (2, FrozenList([3]))])] = 9
    value[FrozenDict({"a": FrozenList([1])})] = 10
    back = _core.decode(_core.encode(value))
    assert same(back, value)
    assert back[FrozenList([1, (2, FrozenList([3]))])] == 9


def test_what_lies_under_a_frozen_key_is_frozen_and_its_value_is_not():
    back = _core.decode(b"\x81\x92\x01\x81\xa1a\x91\x02\x91\x03")  # %{[1, %{"a" => [2]}] => [3]}
    ((key, value),) = back.items()
    assert type(key) is FrozenList and type(key[1]) is FrozenDict and type(key[1]["a"]) is FrozenList
    assert type(value) is list


@pytest.mark.parametrize("collide", [("a", Atom("a")), (1, 1.0), (1, True), (0, False), ((1,), (True,))])
def test_keys_that_are_equal_in_python_are_refused(collide):
    first, second = collide
    data = b"\x81\xa1x\x82" + _core.encode(first) + b"\x01" + _core.encode(second) + b"\x02"
    with pytest.raises(DecodeError) as caught:
        _core.decode(data)
    assert caught.value.path == ("x",)
    assert repr(first) in caught.value.reason and repr(second) in caught.value.reason


def test_a_collision_far_inside_a_large_map():
    pairs = b"".join(_core.encode(n) + _core.encode([n]) for n in range(1000))
    data = b"\xde\x03\xe9" + pairs + _core.encode(999.0) + b"\xc0"
    with pytest.raises(DecodeError, match=r"the keys 999 and 999\.0"):
        _core.decode(data)


# ---- Errors


@pytest.mark.parametrize(
    ("value", "name", "hint"),
    [
        (Fraction(1, 2), "fractions.Fraction", "register_type"),
        (1j, "complex", ""),
        (object(), "object", ""),
        (len, "builtin_function_or_method", ""),
        (int, "type", ""),
        (range(3), "range", ""),
        ((n for n in ()), "generator", "Pitcrew.stream"),
        (__import__("datetime").timedelta(1), "datetime.timedelta", ""),
    ],
)
def test_what_cannot_be_sent_is_named_with_its_path(value, name, hint):
    with pytest.raises(EncodeError) as caught:
        _core.encode({"a": [0, (1, value)]})
    error = caught.value
    assert error.path == ("a", 1, 1)
    assert str(error) == f'value["a"][1][1]: {error.reason}'
    assert f"type {name} cannot be sent" in error.reason and hint in error.reason


def test_paths_with_keys_of_every_kind():
    with pytest.raises(EncodeError) as caught:
        _core.encode({'q"': {1: {(1, 2): {Atom("a"): {"x" * 200: object()}}}}})
    text = str(caught.value)
    assert text.startswith("value['q\"'][1][(1, 2)][Atom('a')]['xxx")
    assert len(text) < 300


def test_a_key_that_cannot_be_sent():
    with pytest.raises(EncodeError) as caught:
        _core.encode([{(1, 1j): 2}])
    assert caught.value.path == (0,)
    assert "the key (1, 1j)" in caught.value.reason


@pytest.mark.parametrize("text", ["\ud800", "abc\udfff", "é" * 300 + "\ud912"])
def test_surrogates_are_named(text):
    with pytest.raises(EncodeError) as caught:
        _core.encode([text])
    code = next(f"{ord(c):04X}" for c in text if 0xD800 <= ord(c) <= 0xDFFF)
    assert f"surrogate U+{code}" in caught.value.reason and caught.value.path == (0,)


def test_twin_keys_that_are_one_binary_in_the_vm():
    with pytest.raises(EncodeError, match="would be one term"):
        _core.encode({"a": 1, b"a": 2})
    assert _core.decode(_core.encode({"a": 1, b"b": 2})) == {"a": 1, b"b": 2}
    assert _core.decode(_core.encode({"a": 1, b"\xff": 2})) == {"a": 1, b"\xff": 2}


def test_memoryviews_of_bytes():
    assert _core.decode(_core.encode(memoryview(b"abcd")[::2])) == b"ac"
    assert _core.decode(_core.encode(memoryview(b"abcd")[::-1])) == b"dcba"
    released = memoryview(b"ab")
    released.release()
    with pytest.raises(ValueError):
        _core.encode(released)


def test_containers_that_hold_themselves_end_in_an_error():
    loops = [[], {}]
    loops[0].append(loops[0])
    loops[1]["self"] = loops[1]
    for loop in loops:
        with pytest.raises(EncodeError, match="holds itself"):
            _core.encode(loop)


def test_the_depth_that_is_allowed():
    def nested(depth, make):
        value = 1
        for _ in range(depth):
            value = make(value)
        return value

    for make in (lambda v: [v], lambda v: (v,), lambda v: {"k": v}, lambda v: FrozenDict({(v,): 1})):
        levels = 2 if make(1) == {(1,): 1} else 1
        allowed = nested(_core.MAX_DEPTH // levels, make)
        assert _core.decode(_core.encode(allowed)) == allowed
        with pytest.raises(EncodeError, match="too deeply"):
            _core.encode(make(allowed))


def test_an_index_that_changes_its_container():
    class Meddler:
        def __init__(self, do):
            self.do = do

        def __index__(self):
            self.do()
            return 1

    items: list = []
    items += [Meddler(items.clear), *range(100)]
    with pytest.raises(EncodeError, match="list changed"):
        _core.encode(items)
    table: dict = {}
    table.update({"m": Meddler(lambda: table.update({n: n for n in range(1000)})), "x": 1})
    with pytest.raises(EncodeError, match="dict changed"):
        _core.encode(table)
    emptied: dict = {}
    emptied.update({"m": Meddler(emptied.clear), "x": 1})
    with pytest.raises(EncodeError, match="dict changed"):
        _core.encode(emptied)


def test_an_index_that_raises_is_passed_on():
    class Broken:
        def __index__(self):
            raise LookupError("no number")

    with pytest.raises(LookupError, match="no number"):
        _core.encode([Broken()])


def test_atoms_that_are_too_long():
    assert _core.decode(_core.encode(Atom("é" * 255))) == "é" * 255
    with pytest.raises(EncodeError, match="255"):
        _core.encode(Atom("x" * 256))


def test_counts_that_promise_too_much_cost_nothing():
    """Each of 500 arrays claims all bytes that are left: believed, they would take gigabytes."""
    done = run_python(
        """
import resource
from pitcrew import _core

data = (b"\\xdd" + (3_900_000).to_bytes(4, "big")) * 500 + bytes([0xC0]) * 4_000_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    _core.decode(data)
except _core.DecodeError as error:
    print(error.reason)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000)
"""
    )
    assert done.stdout == "the input ends inside a value\nTrue\n", done.stderr


def test_arbitrary_bytes_never_crash():
    import random

    source = random.Random(1)
    for _ in range(20_000):
        data = source.randbytes(source.randrange(40))
        try:
            value = _core.decode(data)
        except DecodeError:
            continue
        try:
            again = _core.encode(value)
        except EncodeError:
            continue  # twin keys
        assert _core.encode(_core.decode(again)) == again


def test_memory_that_changes_hands_leaks_nothing():
    """Objects per round, after a first round has filled the caches."""
    import gc
    import sys

    bad = {"x": [1, (2, {3: 1j})]}
    data = _core.encode({"a": [1, (2.5, "é", 2**70)], FrozenList([1]): FrozenDict(b=2), Atom("c"): b"d"})
    collision = b"\x82\xa1a\x01\xd4\x01a\x02"

    def refused(function, value):
        try:
            function(value)
        except (DecodeError, EncodeError):
            return
        raise AssertionError(f"not refused: {value!r}")

    def rounds(n):
        for _ in range(n):
            _core.decode(data)
            for broken in (data[:-1], collision, b"\x91\xa1\xff", b"\x81\x91\x01\xc1"):
                refused(_core.decode, broken)
            for value in (bad, {(1, 1j): 1}, ["\ud800"], {b"a": 1, "a": 2}):
                refused(_core.encode, value)
        gc.collect()
        return sys.getallocatedblocks()

    before = rounds(500)
    assert rounds(2000) - before < 500


# ---- NumPy, where it is installed


def test_numpy_scalars_are_numbers():
    np = pytest.importorskip("numpy")
    for scalar, value in [
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float64(1.5), 1.5),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float16(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("é"), "é"),
        (np.bytes_(b"x"), b"x"),
    ]:
        assert same(_core.decode(_core.encode([scalar])), [value])
    for scalar in (np.complex128(1j), np.longdouble(1), np.datetime64("2024-01-02"), np.timedelta64(1)):
        with pytest.raises(EncodeError, match=r"numpy\."):
            _core.encode({"a": scalar})
