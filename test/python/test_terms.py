"""Sets, opaque terms, maps with keys that Python calls equal, and what register_type does."""

import copy
import pickle
from collections import namedtuple
from dataclasses import asdict, dataclass

import pitcrew
import pytest
from harness import run_python
from pitcrew import Atom, DecodeError, EncodeError, Ext, FrozenDict, FrozenList, Map, Opaque, Timestamp, _core
from test_codec import same

# ---- Sets


@pytest.mark.parametrize(
    "value",
    [
        set(),
        {1},
        {1, "a", b"b", None, 2.5, (1, 2), Atom("x")},
        {FrozenList([1, FrozenList([])]), FrozenDict(a=FrozenList([1]))},
        {frozenset({1, frozenset()})},
        set(range(100_000)),
    ],
)
def test_sets(value):
    for sent in (value, frozenset(value)):
        back = _core.decode(_core.encode(sent))
        assert type(back) is set and back == value
    assert _core.decode(_core.encode({frozenset(value): 1})) == {frozenset(value): 1}
    assert pitcrew.unpackb(_core.encode(value)).type == 4


def test_lists_and_maps_in_a_set_arrive_frozen():
    back = _core.decode(_core.packb(Ext(4, b"\x92\x91\x01\x81\xa1a\x90")))
    assert back == {FrozenList([1]), FrozenDict(a=FrozenList())}
    assert {type(item) for item in back} == {FrozenList, FrozenDict}


def test_elements_that_are_equal_in_python_are_refused():
    for first, second in ((1, 1.0), (True, 1), ("a", Atom("a"))):
        payload = b"\x92" + _core.encode(first) + _core.encode(second)
        with pytest.raises(DecodeError, match=r"the elements .* so a set cannot hold both"):
            _core.decode(_core.packb(Ext(4, payload)))
    assert _core.decode(_core.packb(Ext(4, b"\x92\x01\x01"))) == {1}


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x80", b"\x91", b"\x90\x00", b"\xdd\xff\xff\xff\xff"])
def test_sets_that_are_none(payload):
    with pytest.raises(DecodeError):
        _core.decode(_core.packb(Ext(4, payload)))


# ---- Opaque


def test_an_opaque_term_goes_back_byte_for_byte():
    data = b"s" * 16 + b"\x83secret"
    sent = _core.packb(Ext(13, data))
    back = _core.decode(sent)
    assert type(back) is Opaque and back.data == data and _core.encode(back) == sent
    assert back == Opaque(data) and back != Opaque(data + b"x") and hash(back) == hash(Opaque(data))
    assert repr(back) == f"<pitcrew.Opaque, {len(data)} bytes>" and {back: 1}[Opaque(data)] == 1
    for twin in (copy.copy(back), copy.deepcopy(back), pickle.loads(pickle.dumps(back))):
        assert twin == back
    with pytest.raises(EncodeError, match=r"pitcrew\.terms\.Opaque"):
        pitcrew.packb(back)


@pytest.mark.parametrize("code", [0, 12, 14, 15, 127, -2, -128])
def test_extensions_without_a_meaning_are_errors_in_calls(code):
    with pytest.raises(DecodeError) as caught:
        _core.decode(b"\x81\xa1a\x91" + _core.packb(Ext(code, b"x")))
    assert caught.value.path == ("a", 0) and f"extension type {code} " in caught.value.reason
    for value in (Ext(code, b"x"), Timestamp(1)):
        with pytest.raises(EncodeError, match=r"pitcrew\.terms\."):
            _core.encode(value)


# ---- Map


APART = [(1, "int"), (1.0, "float"), (True, "bool"), ("a", "text"), (Atom("a"), "atom"), ((1,), "tuple"), ((1.0,), 0)]


def pairs_of(*pairs):
    return bytes([0x80 + len(pairs)]) + b"".join(_core.encode(k) + _core.encode(v) for k, v in pairs)


def test_keys_are_kept_apart_and_go_back():
    data = b"\x92" + pairs_of(*APART) + pairs_of((2, 3))
    back, plain = pitcrew.unpackb(data, types="pitcrew", keys="strict")
    assert type(back) is Map and plain == {2: 3} and type(plain) is dict
    assert [(key, value) for key, value in back.items()] == APART and len(back) == len(APART)
    for key, value in APART:
        assert back[key] == value and key in back and same(next(k for k in back if same(k, key)), key)
    assert _core.encode([back, plain]) == data
    with pytest.raises(DecodeError, match=r"the keys 1 and 1\.0"):
        _core.decode(data)


def test_maps_inside_maps_and_a_key_that_is_there_twice():
    inner = pairs_of((1, 2), (1.0, 3), (1, 4))
    data = b"\x83" + _core.encode("a") + inner + _core.encode(Atom("a")) + b"\x90" + b"\xa1b\x01"
    back = pitcrew.unpackb(data, types="pitcrew", keys="strict")
    assert back == Map([("a", Map([(1, 4), (1.0, 3)])), (Atom("a"), []), ("b", 1)])


def test_a_map_is_a_mapping():
    value = Map({1: "a"})
    value[1.0] = "b"
    value[1] = "c"
    assert dict(value.items()) == {1: "b"} and list(value.values()) == ["c", "b"] and value.get(True) is None
    assert repr(value) == "Map([(1, 'c'), (1.0, 'b')])" and value == Map([(1.0, "b"), (1, "c")])
    assert Map({1: 2}) == {1: 2} and Map({1: 2}) != {1.0: 2} and Map({1: 2}) != 5
    for twin in (value.copy(), copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert twin == value and twin is not value
    del value[1]
    assert list(value) == [1.0] and value.pop(1.0) == "b" and not value
    for missing in (lambda: value[1], lambda: value.__delitem__(1)):
        with pytest.raises(KeyError):
            missing()
    frozen = Map([(FrozenDict({1: FrozenList([1]), 2: frozenset({1})}), 1)])
    assert FrozenDict({2: frozenset({1}), 1: FrozenList([1])}) in frozen
    assert FrozenDict({2: frozenset({1.0}), 1: FrozenList([1])}) not in frozen
    assert type("Text", (str,), {})("a") in Map({"a": 1})


def test_a_map_with_keys_that_are_one_in_the_vm():
    with pytest.raises(EncodeError, match="would be one term"):
        _core.encode(Map([("a", 1), (b"a", 2)]))
    assert _core.decode(_core.encode(Map([(Atom("a"), 1), (b"a", 2)]))) == {Atom("a"): 1, b"a": 2}
    with pytest.raises(EncodeError) as caught:
        _core.encode(Map({1: {"x": 1j}}))
    assert caught.value.path == (1, "x")


def test_maps_in_keys_of_maps_take_no_exponential_time():
    key = b"\x01"
    for _ in range(200):
        key = b"\x83" + key + b"\x01\x05\x01\x05\x01"
    with pytest.raises(DecodeError, match=r"inside one another|nested too deeply"):
        pitcrew.unpackb(key, strict_map_key=False)
    value = b"\x01"
    for _ in range(200):
        value = b"\x82\x01" + value + b"\xcb?\xf0\0\0\0\0\0\0\x01"
    with pytest.raises(DecodeError, match="inside one another"):
        pitcrew.unpackb(value, types="pitcrew", keys="strict")


# ---- register_type and default


@dataclass
class Point:
    x: int
    y: int


Pair = namedtuple("Pair", "a b")


class Base:
    pass


class Derived(Base):
    pass


def test_converters():
    pitcrew.register_type(Point, encode=asdict)
    pitcrew.register_type(Pair, encode=lambda pair: {"pair": list(pair)})
    pitcrew.register_type(Base, encode=lambda base: [type(base).__name__, Point(1, 2)])
    value = [Point(1, 2), Pair(1, 2), Derived()]
    arrives = [{"x": 1, "y": 2}, {"pair": [1, 2]}, ["Derived", {"x": 1, "y": 2}]]
    assert _core.decode(_core.encode(value)) == arrives
    assert pitcrew.unpackb(pitcrew.packb(value, default=lambda _: "never")) == arrives


@pytest.mark.parametrize("known", [int, str, dict, list, tuple, bool, set, type(None), Atom, FrozenList, bytes])
def test_types_that_cannot_be_registered(known):
    with pytest.raises(TypeError, match="form of its own"):
        pitcrew.register_type(known, encode=repr)


def test_what_register_type_wants():
    for arguments in ((5, repr), (Point, 5)):
        with pytest.raises(TypeError, match="register_type"):
            pitcrew.register_type(arguments[0], encode=arguments[1])


def test_a_converter_that_raises_or_returns_its_argument():
    class Mine:
        pass

    pitcrew.register_type(Mine, encode=lambda mine: {}["no"])
    with pytest.raises(KeyError):
        _core.encode([Mine()])
    pitcrew.register_type(Mine, encode=lambda mine: mine)
    with pytest.raises(EncodeError, match="nested too deeply"):
        _core.encode([Mine()])
    pitcrew.register_type(Mine, encode=lambda mine: [1, 1j])
    with pytest.raises(EncodeError) as caught:
        _core.encode({"a": Mine()})
    assert caught.value.path == ("a", 1)


def test_object_is_the_last_resort():
    done = run_python(
        """
import pitcrew
from pitcrew import _core
class Text(str): pass
pitcrew.register_type(object, encode=lambda value: type(value).__name__)
print(_core.decode(_core.encode([1j, Text("x"), {1}, object(), print])))
"""
    )
    assert done.stdout == "['complex', 'x', {1}, 'object', 'builtin_function_or_method']\n", done.stderr


# ---- In a worker


@pytest.fixture
def typed(start):
    zygote = start("--start", "fork", "--tools", "typed_tools")
    zygote.ready()
    worker = zygote.worker()
    assert worker.first[0] == 2, worker.first
    return worker


def test_types_cross_a_worker(typed):
    value = [{1, 2}, Opaque(b"x" * 20), pitcrew.Time(1, precision=3), FrozenList([1])]
    assert typed.call("echo", value) == value
    assert typed.call("kind", {1}) == "builtins.set" and typed.call("kind", Opaque(b"")) == "pitcrew.terms.Opaque"
    assert typed.call("points", 2) == [{"x": 0, "y": 0}, {"x": 1, "y": -1}]
    fault = typed.fault("unknown")
    assert fault["kind"] == "result_error" and fault["path"] == ["x", 0] and "typed_tools.Unknown" in fault["message"]


def test_meta_says_what_colliding_keys_become(typed):
    value = Map([(1, "int"), (1.0, "float")])

    def answer(meta):
        typed.send("strict_text", [value], meta=meta)
        return typed.answer()

    for meta in (
        {"keys": "strict"},
        {Atom("keys"): Atom("strict")},
        {"deadline_ms": 1, "other": [1, {}], "keys": "strict"},
    ):
        assert answer(meta)[3] == ["1.0: 'float'", "1: 'int'"]
    for meta in (None, {}, {"keys": "dict"}, {"deadline_ms": 5}):
        fault = answer(meta)[3]
        assert fault["kind"] == "decode_error" and fault["path"] == [0] and "the keys 1 and 1.0" in fault["message"]
    typed.send("echo", [value], meta={"keys": "strict"})
    assert pitcrew.unpackb(_core.encode(value), types="pitcrew", keys="strict") == value
