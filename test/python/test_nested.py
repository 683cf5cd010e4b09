"""Calls inside of others (docs/protocol.md section 3): what a real worker runs when, and what interrupts it."""

import struct
import time

import pytest
from functions import FUNCTION, begin, give, send_payload
from harness import gone, nothing_comes, recv_exactly, until
from pitcrew import _core, packb
from pitcrew.terms import Ext

CALL, REPLY, ERROR, INNER = _core.KIND_CALL, _core.KIND_REPLY, _core.KIND_ERROR, _core.KIND_INNER
FORGET, SHUTDOWN = _core.KIND_FORGET, _core.KIND_SHUTDOWN


@pytest.fixture
def tools(start):
    zygote = start("--start", "fork", "--tools", "function_tools", "--tools", "nested_tools")
    assert zygote.ready()["start"] == "fork"
    return zygote


FUNCTIONS = [Ext(FUNCTION, packb(index)) for index in range(2)]


def inner(worker, tool, *args):
    worker.last_id += 1
    send_payload(worker, packb([INNER, worker.last_id, tool, list(args), None, None]))
    return worker.last_id


def waits(worker, id_):
    """The number of the function that a call waits for, with room inside of it."""
    frame = worker.answer()
    assert frame[0] == CALL and frame[2] == [id_, 0, True], frame
    return frame[1]


def is_cancelled(frame, id_):
    return frame[:2] == [ERROR, id_] and frame[3]["kind"] == "cancelled"


@pytest.mark.parametrize("tool", ["apply_to", "async_apply"])
def test_the_inner_one_is_answered_first(worker, tool):
    outer = begin(worker, tool)
    function = waits(worker, outer)
    for value in range(3):
        id_ = inner(worker, "echo", value)
        assert worker.answer()[1:4:2] == [id_, value]
    give(worker, function, "end")
    assert worker.answer()[1:4:2] == [outer, "end"]


def test_in_json(worker):
    outer = begin(worker, "apply_to")
    function = waits(worker, outer)
    worker.last_id += 1
    send_payload(worker, b'[%d,%d,"echo",["Z\xc3\xb6"],null,null]' % (INNER, worker.last_id))
    (n,) = struct.unpack(">I", recv_exactly(worker.call_socket, 4))
    text = recv_exactly(worker.call_socket, n)
    assert text.startswith(b"[%d,%d," % (REPLY, worker.last_id)) and text.endswith(b',"Z\xc3\xb6"]')
    give(worker, function, 1)
    assert worker.answer()[1:4:2] == [outer, 1]


def test_one_that_is_refused(worker):
    outer = begin(worker, "apply_to")
    function = waits(worker, outer)
    id_ = inner(worker, "no such tool")
    frame = worker.answer()
    assert frame[:2] == [ERROR, id_] and frame[3]["kind"] == "unknown_tool"
    give(worker, function, 1)
    assert worker.answer()[1:4:2] == [outer, 1]


def test_each_inside_of_the_one_before(worker):
    ids, functions = [begin(worker, "apply_to")], []
    for level in range(63):
        functions.append(waits(worker, ids[-1]))
        ids.append(inner(worker, ["apply_to", "async_apply", "waits_around"][level % 3], FUNCTIONS[0]))
    functions.append(waits(worker, ids[-1]))
    for id_, function in zip(reversed(ids), reversed(functions), strict=True):
        give(worker, function, id_)
        assert worker.answer()[:2] == [REPLY, id_]


def test_one_that_comes_behind_the_answer_runs_when_the_tool_waits_again(worker):
    outer = begin(worker, "times", 2)
    function = waits(worker, outer)
    give(worker, function, 1)
    function = waits(worker, outer)
    id_ = inner(worker, "echo", "late")
    assert worker.answer()[1:4:2] == [id_, "late"]
    give(worker, function, 2)
    assert worker.answer()[1:4:2] == [outer, [1, 2]]


def test_or_when_its_call_has_ended(worker):
    """If that has not looked before it went on; and before others that have come while it ran."""
    outer = begin(worker, "apply_to")
    function = waits(worker, outer)
    other = worker.send("echo", ["other"])
    give(worker, function, 1)
    id_ = inner(worker, "echo", "late")
    answers = [worker.answer()[1:4:2] for _ in range(3)]
    assert sorted(answers) == [[outer, 1], [other, "other"], [id_, "late"]]


def test_a_thread_has_no_room_inside(worker):
    """What is sent all the same runs when its call has ended."""
    outer = begin(worker, "in_thread")
    frame = worker.answer()
    assert frame[2] == [outer, 0]
    id_ = inner(worker, "echo", 1)
    assert nothing_comes(worker)
    give(worker, frame[1], 2)
    assert worker.answer()[1:4:2] == [outer, 2]
    assert worker.answer()[1:4:2] == [id_, 1]


def test_what_a_thread_reads_for_the_one_that_serves(worker):
    """Both wait; whoever reads the frame, it runs on the thread that serves."""
    for _ in range(50):
        worker.last_id += 1
        outer = worker.last_id
        send_payload(worker, packb([CALL, outer, "beside_a_thread", FUNCTIONS, None, None]))
        frames = [worker.answer(), worker.answer()]
        assert sorted(frame[2] for frame in frames) == [[outer, 0, True], [outer, 1]]
        ids = [inner(worker, "on_the_main_thread") for _ in range(3)]
        assert [worker.answer()[1:4:2] for _ in ids] == [[id_, True] for id_ in ids]
        for frame in frames:
            give(worker, frame[1], 1)
        assert worker.answer()[1:4:2] == [outer, [1, 1]]


# ---- Interrupts


def begun(worker, path):
    assert until((path.parent / (path.name + ".begun")).exists)


@pytest.mark.parametrize("tool", ["waits_and_says", "async_apply"])
def test_the_inner_one_is_cancelled_and_no_other(worker, tool, tmp_path):
    outer = begin(worker, tool)
    function = waits(worker, outer)
    id_ = inner(worker, "sleeps_and_says", str(tmp_path / "inner"))
    begun(worker, tmp_path / "inner")
    assert worker.cancel(id_) == "started"
    assert is_cancelled(worker.answer(), id_)
    assert worker.cancel(id_) == "ended"
    give(worker, function, 1)
    assert worker.answer()[1:4:2] == [outer, 1]
    assert worker.call("take_caught") == ["inner"]


def test_the_outer_one_is_cancelled_and_what_runs_inside_before_it(worker, tmp_path):
    outer = begin(worker, "waits_and_says")
    waits(worker, outer)
    id_ = inner(worker, "sleeps_and_says", str(tmp_path / "inner"))
    begun(worker, tmp_path / "inner")
    assert worker.cancel(outer) == "started"
    assert is_cancelled(worker.answer(), id_)
    assert is_cancelled(worker.answer(), outer)
    assert worker.call("take_caught") == ["inner", "outer"]


def test_in_the_middle(worker, tmp_path):
    """Above what was cancelled all are interrupted, below none."""
    outer = begin(worker, "waits_and_says")
    first = waits(worker, outer)
    middle = inner(worker, "waits_and_says", FUNCTIONS[0])
    waits(worker, middle)
    top = inner(worker, "sleeps_and_says", str(tmp_path / "inner"))
    begun(worker, tmp_path / "inner")
    assert worker.cancel(middle) == "started"
    assert is_cancelled(worker.answer(), top)
    assert is_cancelled(worker.answer(), middle)
    assert nothing_comes(worker)
    give(worker, first, 1)
    assert worker.answer()[1:4:2] == [outer, 1]
    assert worker.call("take_caught") == ["inner", "outer"]


def test_before_it_has_come(worker):
    outer = begin(worker, "apply_to")
    function = waits(worker, outer)
    assert worker.cancel(worker.last_id + 1) == "unstarted"
    inner(worker, "echo", 1)
    id_ = inner(worker, "echo", 2)
    assert worker.answer()[1:4:2] == [id_, 2]
    give(worker, function, 3)
    assert worker.answer()[1:4:2] == [outer, 3]


def test_cancels_at_any_moment(worker):
    """Of the outer one, while short ones run inside of it: all of them end, in that order, and no other is hit."""
    for round_ in range(100):
        outer = begin(worker, "apply_to")
        function = waits(worker, outer)
        ids = [inner(worker, "echo", i) for i in range(3)]
        time.sleep(round_ % 10 * 0.00005)
        assert worker.cancel(outer) == "started"
        frames = [worker.answer()]
        while frames[-1][1] != outer:
            frames.append(worker.answer())
        assert is_cancelled(frames[-1], outer)
        seen = [frame[1] for frame in frames]
        # Those that it has not waited for run afterwards, as any call.
        late = [worker.answer()[1] for _ in range(len(ids) + 1 - len(frames))]
        assert sorted(seen[:-1] + late) == ids
        give(worker, function, 1)
        assert worker.call("echo", round_) == round_


@pytest.mark.parametrize("tool", ["apply_to", "async_apply", "in_own_loop"])
def test_nothing_is_left_of_them(worker, tool):
    """Less than one block of memory each time: caches may still grow."""

    def some():
        outer = begin(worker, tool)
        function = waits(worker, outer)
        for name, *args in [("echo", 1), ("gathers", 3), ("fails", "x"), ("what_is_around",)]:
            id_ = inner(worker, name, *args)
            assert worker.answer()[1] == id_
        give(worker, function, 1)
        assert worker.answer()[:2] == [REPLY, outer]

    for _ in range(100):
        some()
    before = worker.call("blocks")
    for _ in range(1500):
        some()
    assert worker.call("blocks") - before < 1500


# ---- The end of the channel


def test_it_is_closed_while_one_runs_inside(worker, tmp_path):
    outer = begin(worker, "apply_to")
    waits(worker, outer)
    inner(worker, "sleeps_and_says", str(tmp_path / "inner"))
    begun(worker, tmp_path / "inner")
    worker.call_socket.close()
    assert worker.ping()["started"] == worker.last_id
    assert worker.cancel(worker.last_id) == "started"
    assert gone(worker.pid)


def test_what_is_to_be_forgotten_or_to_end_waits_for_the_outer_one(worker):
    outer = begin(worker, "apply_to")
    function = waits(worker, outer)
    send_payload(worker, packb([FORGET, 0, [], []]))
    send_payload(worker, packb([SHUTDOWN, 0]))
    id_ = inner(worker, "echo", 1)
    assert worker.answer()[1:4:2] == [id_, 1]
    give(worker, function, 2)
    assert worker.answer()[1:4:2] == [outer, 2]
    assert gone(worker.pid)
