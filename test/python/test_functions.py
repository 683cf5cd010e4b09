"""Functions of the VM (docs/protocol.md section 3) against a real worker: what it sends and hears, and all its ends."""

import os
import struct

import numpy
import pytest
from functions import FUNCTION, begin, called, fail, give, send_payload
from harness import nothing_comes, recv_frame, send_frame, until
from pitcrew import DecodeError, Unpacker, _core, packb, unpackb
from pitcrew.terms import Ext

CALL, REPLY, ERROR = _core.KIND_CALL, _core.KIND_REPLY, _core.KIND_ERROR
TOOLS = "function_tools"


@pytest.fixture
def worker(either):
    return either


@pytest.mark.parametrize("tool", ["apply_to", "async_apply"])
def test_a_call_of_a_function_and_its_answer(worker, tool):
    id_ = begin(worker, tool, 1, "two", index=3)
    function, args, kwargs = called(worker, id_, index=3)
    assert (args, kwargs) == ([1, "two"], None)
    give(worker, function, {"got": [1]})
    assert worker.answer()[:2] == [REPLY, id_]


def test_ids_of_functions_only_grow(worker):
    seen = []
    for _ in range(3):
        id_ = begin(worker, "times", 2)
        for i in range(2):
            function, args, _ = called(worker, id_)
            assert args == [i]
            seen.append(function)
            give(worker, function, i)
        assert worker.answer()[3] == [0, 1]
    assert seen == sorted(set(seen))


def test_what_is_given_by_name(worker):
    worker.last_id += 1
    send_payload(worker, packb([CALL, worker.last_id, "apply_to", [Ext(FUNCTION, packb(0)), 1], {"k": 2}, None]))
    function, args, kwargs = called(worker, worker.last_id)
    assert (args, kwargs) == ([1], {"k": 2})
    give(worker, function, None)
    assert worker.answer()[:2] == [REPLY, worker.last_id]


@pytest.mark.parametrize("tool", ["caught", "async_caught"])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"kind": "throw", "type": None, "message": "m", "traceback": "t"},
            ["error", "throw", None, "m", "t"],
        ),
        ({"kind": "error", "type": "KeyError", "message": "m"}, ["error", "error", "KeyError", "m", None]),
        ({}, ["error", "error", None, "the VM gave no message", None]),
    ],
)
def test_an_error_is_raised(worker, tool, fields, expected):
    id_ = begin(worker, tool)
    function, _, _ = called(worker, id_)
    fail(worker, function, **fields)
    assert worker.answer()[3] == expected


def test_an_error_that_leaves_the_tool(worker):
    id_ = begin(worker, "apply_to")
    function, _, _ = called(worker, id_)
    fail(worker, function, kind="error", type="RuntimeError", message="boom")
    frame = worker.answer()
    assert frame[:2] == [ERROR, id_]
    assert frame[3]["kind"] == "tool_error" and frame[3]["type"].endswith("ElixirError")
    assert frame[3]["message"] == "(RuntimeError) boom"


def test_an_answer_that_cannot_be_read_is_an_error_of_that_function_only(worker):
    id_ = begin(worker, "apply_to")
    function, _, _ = called(worker, id_)
    send_payload(worker, packb([REPLY, function, 0, Ext(99, b"x")]))
    frame = worker.answer()
    assert frame[:2] == [ERROR, id_] and frame[3]["type"] == "pitcrew.DecodeError"
    assert worker.call("echo", 1) == 1


def test_answers_that_nobody_waits_for_are_dropped(worker):
    give(worker, 77, "never asked for")
    fail(worker, 78, kind="error", message="neither")
    id_ = begin(worker, "apply_to")
    function, _, _ = called(worker, id_)
    give(worker, function + 1, "of the future")
    give(worker, function, 1)
    give(worker, function, 2)
    assert worker.answer()[1:4:2] == [id_, 1]
    assert worker.call("echo", 3) == 3
    assert nothing_comes(worker)


def test_a_function_with_a_wrong_payload(worker):
    worker.last_id += 1
    send_payload(worker, packb([CALL, worker.last_id, "echo", [Ext(FUNCTION, b"\xc0")], None, None]))
    assert worker.answer()[3]["kind"] == "decode_error"


def test_a_function_among_keys_that_python_calls_equal(worker):
    """They are read a second time, for the same call."""
    worker.last_id += 1
    function = packb(Ext(FUNCTION, packb(3)))
    args = b"\x91\x82" + packb(1) + function + packb(1.0) + function
    head = b"\x96" + packb(CALL) + packb(worker.last_id) + packb("of_a_map")
    payload = head + args + packb(None) + packb({"keys": "strict"})
    send_payload(worker, payload)
    for _ in range(2):
        called_id, args, _ = called(worker, worker.last_id, index=3)
        give(worker, called_id, args[0] + 1)
    assert worker.answer()[1:4:2] == [worker.last_id, [2, 2.0]]


def test_only_calls_have_functions(worker):
    """Elsewhere their extension is one like any other."""
    id_ = begin(worker, "apply_to")
    function, _, _ = called(worker, id_)
    ext = Ext(FUNCTION, packb(0))
    send_payload(worker, packb([REPLY, function, 0, ext]))
    frame = worker.answer()
    assert frame[:2] == [ERROR, id_] and frame[3]["type"] == "pitcrew.DecodeError"
    unpacker = Unpacker(types="pitcrew")
    unpacker.feed(packb(ext))
    assert [unpackb(packb(ext), types="pitcrew"), next(unpacker)] == [ext, ext]
    with pytest.raises(DecodeError, match="extension type 12"):
        _core.decode(packb(ext))


def test_calls_that_come_meanwhile_wait_in_order(tools):
    worker = tools.worker(concurrency=1)
    id_ = begin(worker, "apply_to")
    function, _, _ = called(worker, id_)
    later = [worker.send("echo", [n]) for n in range(3)]
    assert nothing_comes(worker)
    give(worker, function, "first")
    assert [worker.answer()[1] for _ in range(4)] == [id_, *later]


def test_a_call_that_waits_for_a_function_does_not_count_among_those_that_run(tools):
    worker = tools.worker(concurrency=2)
    waiting = [begin(worker, tool) for tool in ["apply_to", "async_apply"] * 3]
    frames = [worker.answer() for _ in waiting]  # of threads and coroutines, in any order
    assert sorted(frame[2][0] for frame in frames) == waiting
    assert worker.call("echo", 1) == 1
    for _, function, (id_, _), _ in frames:
        give(worker, function, id_)
        assert worker.answer()[1:4:2] == [id_, id_]


def test_no_more_calls_wait_for_functions_than_there_is_room_for(tools):
    worker = tools.worker(concurrency=2)
    room = 1024
    ids = [begin(worker, "async_apply") for _ in range(room + 8)]
    waiting = [called(worker, id_)[0] for id_ in ids[:room]]
    assert nothing_comes(worker)
    for function in waiting:
        give(worker, function, 1)
    answered = []
    while len(answered) < len(ids):
        kind, id_, *_ = worker.answer()
        if kind == CALL:
            give(worker, id_, 1)
        else:
            answered.append(id_)
    assert sorted(answered) == ids


@pytest.mark.parametrize("tool", ["apply_to", "async_apply", "catches_cancel"])
def test_a_call_that_waits_is_cancelled(worker, tool):
    id_ = begin(worker, tool)
    function, _, _ = called(worker, id_)
    assert worker.cancel(id_) == "started"
    frame = worker.answer()
    assert frame[:2] == [ERROR, id_] and frame[3]["kind"] == "cancelled"
    give(worker, function, "too late")
    assert worker.call("echo", 1) == 1


def test_an_await_that_gives_up(tools):
    worker = tools.worker(concurrency=4)
    for _ in range(3):
        id_ = begin(worker, "impatient")
        function, _, _ = called(worker, id_)
        assert worker.answer()[1:4:2] == [id_, "late"]
        give(worker, function, "too late")
    assert worker.call("echo", 1) == 1


def test_a_function_of_a_call_that_has_ended(worker):
    id_ = begin(worker, "keep")
    assert worker.answer()[1] == id_
    assert worker.call("call_kept")[:2] == ["error", "gone"]


@pytest.fixture
def fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def test_a_call_that_ends_while_an_argument_of_its_function_is_encoded(worker, fifo):
    id_ = begin(worker, "leaves_encoding", str(fifo))
    assert worker.answer()[1] == id_
    fifo.write_text("on")
    assert worker.call("take_kept")[0][:2] == ["error", "gone"]
    assert nothing_comes(worker)


def test_a_call_whose_end_is_told_to_another_first_while_an_argument_of_its_function_is_encoded(tools, fifo):
    worker = tools.worker(concurrency=4)
    id_ = begin(worker, "leaves_future_and_encoding", str(fifo))
    called(worker, id_)
    assert worker.answer()[1] == id_
    assert worker.call("take_kept")[0][:2] == ["error", "gone"]
    assert nothing_comes(worker)


def test_a_call_that_ends_while_the_loop_encodes_an_argument_of_its_function(tools, fifo):
    worker = tools.worker(concurrency=4)
    other = worker.send("takes_over", [str(fifo)])
    id_ = begin(worker, "hands_over", "/dev/null")
    assert worker.answer()[1] == id_
    fifo.write_text("on")
    assert worker.answer()[1:4:2] == [other, "gone"]
    assert worker.call("echo", 1) == 1


def test_a_call_that_ends_while_the_loop_waits_for_its_function(tools, fifo):
    """The loop, which has nothing else to do, is told."""
    worker = tools.worker(concurrency=4)
    other = worker.send("takes_over", ["/dev/null"])
    id_ = begin(worker, "hands_over", str(fifo))
    called(worker, id_)
    fifo.write_text("on")
    assert sorted(worker.answer()[1:4:2] for _ in range(2)) == [[other, "cancelled"], [id_, "on"]]
    assert worker.call("echo", 1) == 1


def test_a_call_that_ends_while_what_it_waits_for_is_answered(start, fifo):
    """Memory that is freed is overwritten, so that nothing goes on there."""
    zygote = start("--start", "fork", "--tools", TOOLS, env={"PYTHONMALLOC": "debug"})
    zygote.ready()
    worker = zygote.worker(concurrency=4)
    other = worker.send("takes_over_two", [str(fifo)])
    id_ = begin(worker, "hands_over", "/dev/null")
    first, second = [called(worker, id_)[0] for _ in range(2)]
    assert zygote.read_line(1) == "ending\n"  # of the second one
    give(worker, first, "too late, too")
    give(worker, second, "too late")
    assert worker.call("echo", 1) == 1
    fifo.write_text("on")
    assert sorted(worker.answer()[1:4:2] for _ in range(2)) == [[other, ["CancelledError"] * 2], [id_, ""]]


def test_a_large_argument_and_a_large_result(worker):
    text = "x" * 3_000_000
    id_ = begin(worker, "apply_to", text)
    function, args, _ = called(worker, id_)
    assert args == [text]
    give(worker, function, text)
    assert worker.answer()[3] == text


def test_many_threads(worker):
    id_ = begin(worker, "in_threads", 10)
    for _ in range(11):
        function, args, _ = called(worker, id_)
        give(worker, function, args[0])
    assert worker.answer()[3] == list(range(11))


def test_answers_that_come_at_once(worker):
    """Whoever reads the first one, and is done with that, tells the others of theirs."""
    id_ = begin(worker, "in_threads", 10)
    waiting = [called(worker, id_) for _ in range(11)]
    payloads = [packb([REPLY, function, 0, args[0]]) for function, args, _ in waiting]
    worker.call_socket.sendall(b"".join(struct.pack(">I", len(payload)) + payload for payload in payloads))
    assert worker.answer()[3] == list(range(11))


def test_many_threads_that_get_arrays(worker):
    """All at once, in a process that has not imported what they need."""
    id_ = begin(worker, "sums_in_threads", 10)
    waiting = [called(worker, id_) for _ in range(10)]
    for function, args, _ in waiting:
        give(worker, function, numpy.full(50_000, args[0]))
    assert worker.answer()[1:4:2] == [id_, [50_000 * i for i in range(10)]]


@pytest.mark.parametrize("module", ["pitcrew.tensors", "numpy"])
def test_others_read_while_an_answer_is_decoded(tools, module):
    worker = tools.worker(concurrency=1)
    id_ = begin(worker, "imports_meanwhile", module)
    waiting = {args[0]: function for function, args, _ in (called(worker, id_) for _ in range(3))}
    give(worker, waiting[0], numpy.ones(200_000))
    assert tools.read_line(1) == "importing\n"
    give(worker, waiting[1], "x" * 500_000)
    give(worker, waiting[2], "y")
    assert worker.answer()[1:4:2] == [id_, [200_000, ["x" * 500_000, "y"]]]
    assert worker.call("echo", 1) == 1


def test_a_call_that_is_cancelled_while_an_answer_is_decoded(tools, worker):
    id_ = begin(worker, "gives_up_meanwhile", "pitcrew.tensors")
    function, _, _ = called(worker, id_)
    give(worker, function, numpy.ones(10))
    assert tools.read_line(1) == "importing\n"
    assert worker.cancel(id_) == "started"
    frame = worker.answer()
    assert frame[:2] == [ERROR, id_] and frame[3]["kind"] == "cancelled"
    assert worker.call("echo", 1) == 1


def test_the_end_of_the_connection(tools, worker):
    id_ = begin(worker, "apply_to")
    called(worker, id_)
    worker.call_socket.close()
    assert tools.expect("exit", 1)[3:5] == ["exit", 0]


def test_nothing_is_left(worker):
    before = len(os.listdir(f"/proc/{worker.pid}/fd"))
    for _ in range(20):
        for tool in ["apply_to", "async_apply"]:
            id_ = begin(worker, tool)
            function, _, _ = called(worker, id_)
            give(worker, function, 1)
            assert worker.answer()[1] == id_
    assert until(lambda: len(os.listdir(f"/proc/{worker.pid}/fd")) <= before + 6)


def test_frames_of_other_kinds_are_still_refused(worker):
    send_frame(worker.call_socket, [99, 5])
    frame = recv_frame(worker.call_socket)
    assert frame[:2] == [ERROR, 5] and frame[3]["kind"] == "unknown_kind"
