"""Atom, FrozenList and FrozenDict by themselves."""

import copy
import pickle

import pytest
from pitcrew import Atom, FrozenDict, FrozenList


def test_an_atom_is_its_text():
    atom = Atom("name")
    assert atom == "name" and hash(atom) == hash("name") and isinstance(atom, str)
    assert {"name": 1}[atom] == 1 and {atom: 1}["name"] == 1
    assert dict(**{atom: 1}) == {"name": 1}
    assert repr(atom) == "Atom('name')" and str(atom) == "name" and f"{atom}" == "name"
    assert Atom(atom) == atom and type(atom.upper()) is str
    for twin in (copy.copy(atom), copy.deepcopy(atom), pickle.loads(pickle.dumps(atom))):
        assert twin == atom and type(twin) is Atom


def test_a_frozen_list_is_a_list_that_hashes():
    frozen = FrozenList([1, "a", (2,)])
    assert frozen == [1, "a", (2,)] and [1, "a", (2,)] == frozen and frozen != [1]
    assert hash(frozen) == hash(FrozenList((1, "a", (2,)))) and frozen == FrozenList(iter(frozen))
    assert isinstance(frozen, list) and frozen[1:] == ["a", (2,)] and type(frozen * 2) is list
    assert repr(frozen) == "FrozenList([1, 'a', (2,)])" and FrozenList() == []
    assert {frozen: 1}[FrozenList([1, "a", (2,)])] == 1
    with pytest.raises(TypeError):
        hash(FrozenList([[]]))


def test_a_frozen_dict_is_a_dict_that_hashes():
    frozen = FrozenDict({"a": 1, "b": 2})
    assert frozen == {"b": 2, "a": 1} and hash(frozen) == hash(FrozenDict(b=2, a=1))
    assert FrozenDict([("a", 1)], b=2) == frozen and dict(**frozen) == frozen
    assert repr(FrozenDict(a=1)) == "FrozenDict({'a': 1})" and type(frozen | {"c": 3}) is dict
    assert {frozen: 1}[FrozenDict(b=2, a=1)] == 1
    with pytest.raises(TypeError):
        hash(FrozenDict(a=[]))


@pytest.mark.parametrize("make", [lambda: FrozenList([1, 2]), lambda: FrozenDict(a=1)])
def test_frozen_values_are_copied_and_pickled(make):
    frozen = make()
    for twin in (copy.copy(frozen), copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        assert twin == frozen and type(twin) is type(frozen) and hash(twin) == hash(frozen)


CHANGES_OF_A_LIST = [
    lambda x: x.append(1),
    lambda x: x.extend([1]),
    lambda x: x.insert(0, 1),
    lambda x: x.pop(),
    lambda x: x.remove(1),
    lambda x: x.clear(),
    lambda x: x.sort(key=str),
    lambda x: x.reverse(),
    lambda x: x.__setitem__(0, 5),
    lambda x: x.__setitem__(slice(0, 1), []),
    lambda x: x.__delitem__(0),
    lambda x: x.__iadd__([1]),
    lambda x: x.__imul__(2),
]

CHANGES_OF_A_DICT = [
    lambda x: x.update(b=1),
    lambda x: x.pop("a"),
    lambda x: x.popitem(),
    lambda x: x.setdefault("b", 1),
    lambda x: x.clear(),
    lambda x: x.__setitem__("a", 2),
    lambda x: x.__delitem__("a"),
    lambda x: x.__ior__({"b": 1}),
]


@pytest.mark.parametrize("change", CHANGES_OF_A_LIST)
def test_a_frozen_list_refuses_to_change(change):
    frozen = FrozenList([1, 2])
    with pytest.raises(TypeError, match="cannot be changed"):
        change(frozen)
    frozen.__init__([7])
    assert frozen == [1, 2]


@pytest.mark.parametrize("change", CHANGES_OF_A_DICT)
def test_a_frozen_dict_refuses_to_change(change):
    frozen = FrozenDict(a=1)
    with pytest.raises(TypeError, match="cannot be changed"):
        change(frozen)
    frozen.__init__(a=7)
    assert frozen == {"a": 1}
