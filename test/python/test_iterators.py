"""Iterators of the VM (docs/protocol.md section 3) against a real worker: what they ask for, and all their ends."""

import struct

import pytest
from functions import ITERATOR, begin, called, fail, give, send_payload
from harness import nothing_comes
from pitcrew import _core, packb
from pitcrew.terms import Ext

CALL, REPLY, ERROR, CHUNK = _core.KIND_CALL, _core.KIND_REPLY, _core.KIND_ERROR, _core.KIND_CHUNK
NEXT, CLOSE, DROP, AGAIN = range(4)
TOOLS = "iterator_tools"


@pytest.fixture
def worker(either):
    return either


def start(worker, tool, *args, **kwargs):
    return begin(worker, tool, *args, kind=ITERATOR, **kwargs)


def asked(worker, id_, what, index=0):
    """The id of the next thing that an iterator asks for, and its number."""
    function, (number, said), kwargs = called(worker, id_, index)
    assert (said, kwargs) == (what, None)
    return function, number


def result(worker, id_):
    frame = worker.answer()
    assert frame[:2] == [REPLY, id_], frame
    return frame[3]


@pytest.mark.parametrize("tool", ["take", "async_take"])
def test_it_asks_when_it_has_none_and_until_the_end(worker, tool):
    id_ = start(worker, tool, index=2)
    number = None
    for items, end in [([1, 2], None), ([], None), ([3], None), ([4, 5], True)]:
        function, same = asked(worker, id_, NEXT, index=2)
        number = number or same
        assert number == same > 0
        assert nothing_comes(worker)
        give(worker, function, [items, end])
    assert result(worker, id_) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("tool", ["zipped", "async_zipped"])
def test_each_has_a_number(worker, tool):
    """Also where both are the same in the VM."""
    id_ = start(worker, tool, Ext(ITERATOR, packb(0)))
    first, one = asked(worker, id_, NEXT)
    give(worker, first, [[1], True])
    second, other = asked(worker, id_, NEXT)
    give(worker, second, [[2], True])
    assert one != other
    assert result(worker, id_) == [[1, 2]]


@pytest.mark.parametrize("tool", ["caught", "async_caught"])
def test_an_error_comes_behind_the_elements(worker, tool):
    id_ = start(worker, tool)
    give(worker, asked(worker, id_, NEXT)[0], [[1, 2], {"kind": "error", "type": "T", "message": "m"}])
    assert result(worker, id_) == [[1, 2], "error", "T", "m", []]


@pytest.mark.parametrize("tool", ["caught", "async_caught"])
def test_after_an_error_instead_of_elements_it_is_over(worker, tool):
    id_ = start(worker, tool)
    give(worker, asked(worker, id_, NEXT)[0], [[1], None])
    fail(worker, asked(worker, id_, NEXT)[0], kind="timeout", message="late")
    asked(worker, id_, DROP)
    assert result(worker, id_) == [[1], "timeout", None, "late", []]


UNREADABLE = Ext(9, b"\xff")


def give_terms(worker, id_, value):
    send_payload(worker, packb([REPLY, id_, 0, value]))


@pytest.mark.parametrize("tool", ["caught", "async_caught"])
def test_elements_that_cannot_be_read_together_are_asked_for_one_by_one(worker, tool):
    id_ = start(worker, tool)
    give_terms(worker, asked(worker, id_, NEXT)[0], [[1, UNREADABLE, 3], None])
    give(worker, asked(worker, id_, AGAIN)[0], [[1], None])
    give_terms(worker, asked(worker, id_, NEXT)[0], [[UNREADABLE], None])
    asked(worker, id_, DROP)
    found, kind, _, _, rest = result(worker, id_)
    assert (found, kind, rest) == ([1], "DecodeError", [])


@pytest.mark.parametrize("answer", [None, 1, [], [1], [[], None, 1, 2], [1, None], "text"])
def test_answers_that_make_no_sense(worker, answer):
    """The tool fails; neither the worker nor its next call does."""
    id_ = start(worker, "take")
    give(worker, asked(worker, id_, NEXT)[0], answer)
    frame = worker.answer()
    if frame[0] == CALL:
        assert frame[3][0][1] == DROP
        frame = worker.answer()
    assert frame[:2] == [ERROR, id_], frame
    assert frame[3]["kind"] == "tool_error"
    assert worker.call("echo", 1) == 1


def test_close_is_asked_for_once_and_waits(worker):
    id_ = begin_in_list(worker, "closes", "close")
    function, number = asked(worker, id_, NEXT)
    give(worker, function, [[1, 2], None])
    function, same = asked(worker, id_, CLOSE)
    assert same == number
    assert nothing_comes(worker)
    give(worker, function, None)
    function, args, _ = called(worker, id_, 1)
    assert args == [[1, []]]
    give(worker, function, None)
    assert result(worker, id_) == "over"


@pytest.mark.parametrize("tool", ["closes", "async_closes"])
@pytest.mark.parametrize("how", ["drop", "cycle"])
def test_one_that_is_dropped_says_so_and_waits_for_nothing(worker, tool, how):
    id_ = begin_in_list(worker, tool, how)
    give(worker, asked(worker, id_, NEXT)[0], [[1, 2], None])
    asked(worker, id_, DROP)
    function, _, _ = called(worker, id_, 1)
    give(worker, function, None)
    assert result(worker, id_) == "over"


def begin_in_list(worker, tool, how):
    worker.last_id += 1
    args = [[Ext(ITERATOR, packb(0))], how, Ext(12, packb(1))]
    send_payload(worker, packb([CALL, worker.last_id, tool, args, None, None]))
    return worker.last_id


def test_one_that_nobody_has_asked_and_one_that_has_ended_say_nothing(worker):
    id_ = start(worker, "keep", 0)
    assert result(worker, id_) == []
    id_ = start(worker, "take")
    give(worker, asked(worker, id_, NEXT)[0], [[1], True])
    assert result(worker, id_) == [1]
    assert worker.call("echo", 1) == 1


def test_what_has_come_can_be_taken_after_the_call(worker):
    id_ = start(worker, "keep", 1)
    give(worker, asked(worker, id_, NEXT)[0], [[1, 2, 3], None])
    assert result(worker, id_) == [1]
    assert worker.call("kept_rest") == [2, "gone"]


@pytest.mark.parametrize("tool", ["take", "async_take"])
def test_a_call_that_is_cancelled_while_it_waits(worker, tool):
    id_ = start(worker, tool)
    asked(worker, id_, NEXT)
    assert worker.cancel(id_) == "started"
    frame = worker.answer()
    if frame[0] == CALL:
        assert frame[3][0][1] == DROP
        frame = worker.answer()
    assert frame[:2] == [ERROR, id_]
    assert frame[3]["kind"] == "cancelled"
    assert worker.call("echo", 1) == 1


def test_in_and_out(worker):
    """One element comes, one chunk goes."""
    id_ = start(worker, "doubled", meta={"stream": 100})
    for n in range(1, 4):
        give(worker, asked(worker, id_, NEXT)[0], [[n], None])
        assert worker.answer()[:4:3] == [CHUNK, 2 * n]
    give(worker, asked(worker, id_, NEXT)[0], [[], True])
    assert worker.answer()[:2] == [REPLY, id_]


@pytest.mark.parametrize("payload", [b"", b"\xc0", b"\xff", b"\x00\x00", b"\xd3" + struct.pack(">q", -1)])
def test_payloads_that_make_no_sense(worker, payload):
    worker.last_id += 1
    send_payload(worker, packb([CALL, worker.last_id, "take", [Ext(ITERATOR, payload)], None, None]))
    frame = worker.answer()
    assert frame[:2] == [ERROR, worker.last_id]
    assert frame[3]["kind"] == "decode_error"
    assert worker.call("echo", 1) == 1


def test_not_as_a_key(worker):
    worker.last_id += 1
    send_payload(worker, packb([CALL, worker.last_id, "take", [{Ext(ITERATOR, packb(0)): 1}], None, None]))
    assert worker.answer()[3]["kind"] == "decode_error"
