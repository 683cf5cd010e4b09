"""Streams (docs/protocol.md section 3) against a real worker: chunks against credit, halts, and every way to end."""

import os

import pytest
from harness import nothing_comes, recv_frame, send_frame, until
from pitcrew import _core

CALL, REPLY, ERROR = _core.KIND_CALL, _core.KIND_REPLY, _core.KIND_ERROR
CHUNK, END, CREDIT = _core.KIND_CHUNK, _core.KIND_END, _core.KIND_CREDIT
TOOLS = "stream_tools"


@pytest.fixture
def worker(either):
    return either


def open_stream(worker, tool, *args, credit):
    return worker.send(tool, list(args), None, {"stream": credit})


def give(worker, id_, credit):
    send_frame(worker.call_socket, [CREDIT, id_, credit])


def halt(worker, id_):
    send_frame(worker.call_socket, [END, id_])


def chunks(worker, id_, n):
    """The next ones, which there must be."""
    found = []
    for _ in range(n):
        frame = worker.answer()
        assert frame[:2] == [CHUNK, id_], frame
        assert frame[2] >= 0
        found.append(frame[3])
    return found


@pytest.mark.parametrize("tool", ["count_to", "async_count_to"])
def test_as_many_chunks_as_there_is_credit(worker, tool):
    id_ = open_stream(worker, tool, 5, credit=2)
    assert chunks(worker, id_, 2) == [1, 2]
    assert nothing_comes(worker)
    give(worker, id_, 1)
    assert chunks(worker, id_, 1) == [3]
    assert nothing_comes(worker)
    give(worker, id_, 100)
    assert chunks(worker, id_, 2) == [4, 5]
    end = worker.answer()
    assert end[:2] == [REPLY, id_] and end[3] is None
    assert worker.call("echo", 1) == 1


def test_the_tool_does_not_go_on_without_credit(worker):
    """Not even to its end."""
    id_ = open_stream(worker, "count_to", 1, credit=1)
    assert chunks(worker, id_, 1) == [1]
    assert nothing_comes(worker)
    give(worker, id_, 1)
    assert worker.answer()[:2] == [REPLY, id_]


@pytest.mark.parametrize("tool", ["forever", "async_forever"])
def test_a_halt_closes_the_generator(worker, tool):
    id_ = open_stream(worker, tool, credit=3)
    assert chunks(worker, id_, 3) == [0, 1, 2]
    halt(worker, id_)
    assert worker.answer()[:2] == [REPLY, id_]
    assert len(worker.call("take_closed")) == 1


def test_a_halt_is_seen_while_there_is_credit(worker):
    id_ = open_stream(worker, "forever", credit=1 << 30)
    assert chunks(worker, id_, 3) == [0, 1, 2]
    halt(worker, id_)
    seen = 2
    while (frame := worker.answer())[0] == CHUNK:
        seen += 1
        assert frame[3] == seen
    assert frame[:2] == [REPLY, id_]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_halt_before_the_tool_has_returned(tools, tmp_path, is_async):
    os.mkfifo(tmp_path / "fifo")
    worker = tools.worker(concurrency=4)
    id_ = open_stream(worker, "returns_late", str(tmp_path / "fifo"), is_async, credit=1)
    halt(worker, id_)
    assert worker.call("echo", "it has been read") == "it has been read"
    (tmp_path / "fifo").write_text("on")
    assert chunks(worker, id_, 1) == [0]
    assert worker.answer()[:2] == [REPLY, id_]


def test_a_halt_before_the_call_can_begin(tools):
    worker = tools.worker(concurrency=2)
    first, second = [open_stream(worker, "count_to", 1, credit=1) for _ in range(2)]
    assert sorted(worker.answer()[1] for _ in range(2)) == [first, second]
    third = open_stream(worker, "forever", credit=1)
    halt(worker, third)
    give(worker, first, 1)
    frames = [worker.answer() for _ in range(3)]
    assert [frame[:2] for frame in frames if frame[1] == first] == [[REPLY, first]]
    assert [frame[:2] for frame in frames if frame[1] == third] == [[CHUNK, third], [REPLY, third]]
    give(worker, second, 1)
    assert worker.answer()[:2] == [REPLY, second]


def test_what_comes_for_a_stream_that_has_ended_is_dropped(worker):
    id_ = open_stream(worker, "count_to", 1, credit=5)
    assert chunks(worker, id_, 1) == [1]
    assert worker.answer()[:2] == [REPLY, id_]
    give(worker, id_, 5)
    halt(worker, id_)
    assert worker.call("echo", "on") == "on"


def test_a_generator_that_fails_when_it_is_closed(worker):
    id_ = open_stream(worker, "close_fails", credit=1)
    assert chunks(worker, id_, 1) == [1]
    halt(worker, id_)
    end = worker.answer()
    assert end[:2] == [ERROR, id_] and end[3]["kind"] == "tool_error" and end[3]["message"] == "while it was closed"


def test_an_exception_comes_behind_the_chunks(worker):
    id_ = open_stream(worker, "fail_after", 2, credit=9)
    assert chunks(worker, id_, 2) == [0, 1]
    end = worker.answer()
    assert end[:2] == [ERROR, id_] and end[3]["type"] == "ValueError" and "no more" in end[3]["message"]


def test_what_cannot_be_encoded_names_its_place(worker):
    id_ = open_stream(worker, "unencodable_after", 2, credit=9)
    assert chunks(worker, id_, 2) == [0, 1]
    end = worker.answer()
    assert end[:2] == [ERROR, id_]
    assert end[3]["kind"] == "result_error" and end[3]["message"].startswith("chunk: ")
    assert worker.call("take_closed") == ["unencodable_after"]


def test_a_chunk_over_the_limit(tools):
    worker = tools.worker(max_frame=4096)
    id_ = open_stream(worker, "blocks", 2, 5000, credit=9)
    end = worker.answer()
    assert end[:2] == [ERROR, id_] and end[3]["kind"] == "too_big"
    assert worker.call("echo", 1) == 1


def test_what_is_no_stream(worker):
    id_ = open_stream(worker, "no_stream", credit=9)
    end = worker.answer()
    assert end[:2] == [ERROR, id_] and end[3]["kind"] == "result_error" and "list" in end[3]["message"]


def test_large_chunks_cost_more(worker):
    size = 1 << 18  # five of credit
    id_ = open_stream(worker, "blocks", 10, size, credit=11)
    assert [len(chunk) for chunk in chunks(worker, id_, 3)] == [size] * 3
    assert nothing_comes(worker)
    give(worker, id_, 4)  # which pays what the third has cost too much
    assert nothing_comes(worker)
    give(worker, id_, 1)
    assert [len(chunk) for chunk in chunks(worker, id_, 1)] == [size]
    assert nothing_comes(worker)


def test_a_chunk_does_not_wait_for_the_next(tools):
    """Even if it could go out with others."""
    worker = tools.worker()
    id_ = open_stream(worker, "sleep_after", 3, 60.0, credit=100)
    assert chunks(worker, id_, 3) == [0, 1, 2]
    assert worker.cancel(id_) == "started"
    end = worker.answer()
    assert end[:2] == [ERROR, id_] and end[3]["kind"] == "cancelled"


@pytest.mark.parametrize("tool", ["goes_on_when_cancelled", "async_forever"])
def test_a_stream_that_waits_for_credit_is_cancelled(worker, tool):
    id_ = open_stream(worker, tool, credit=1)
    chunks(worker, id_, 1)
    assert nothing_comes(worker)
    assert worker.cancel(id_) == "started"
    end = worker.answer()
    assert end[:2] == [ERROR, id_] and end[3]["kind"] == "cancelled"
    assert worker.call("take_closed") in (["cancelled"], ["async_forever"])


def test_a_generator_may_catch_its_cancellation(tools, worker):
    """What it yields then needs credit, like any chunk."""
    id_ = open_stream(worker, "shrugs", credit=1)
    assert chunks(worker, id_, 1) == ["begun"]
    assert nothing_comes(worker)
    assert worker.cancel(id_) == "started"
    assert tools.read_line(1) == "caught\n"
    assert nothing_comes(worker)
    give(worker, id_, 2)
    assert chunks(worker, id_, 1) == ["cancelled"]
    assert worker.answer()[:2] == [REPLY, id_]


def test_calls_that_come_meanwhile_are_next(tools):
    worker = tools.worker()
    stream = open_stream(worker, "count_to", 4, credit=1)
    assert chunks(worker, stream, 1) == [1]
    calls = [worker.send("echo", [n]) for n in range(3)]
    give(worker, stream, 1)
    assert chunks(worker, stream, 1) == [2]
    other = open_stream(worker, "count_to", 1, credit=2)
    give(worker, stream, 3)
    assert chunks(worker, stream, 2) == [3, 4]
    assert worker.answer()[:2] == [REPLY, stream]
    for n, id_ in enumerate(calls):
        frame = worker.answer()
        assert frame[:2] == [REPLY, id_] and frame[3] == n
    assert chunks(worker, other, 1) == [1]
    assert worker.answer()[:2] == [REPLY, other]


def test_streams_beside_calls(tools):
    """What the VM says of streams is read where no more calls may run."""
    worker = tools.worker(concurrency=2)
    first = open_stream(worker, "count_to", 2, credit=1)
    second = open_stream(worker, "async_count_to", 2, credit=1)
    assert sorted(worker.answer()[:2] for _ in range(2)) == [[CHUNK, first], [CHUNK, second]]
    call = worker.send("echo", ["behind"])
    assert nothing_comes(worker)
    give(worker, second, 2)
    assert chunks(worker, second, 1) == [2]
    frames = [worker.answer(), worker.answer()]
    assert sorted(frame[:2] for frame in frames) == [[REPLY, second], [REPLY, call]]
    halt(worker, first)
    assert worker.answer()[:2] == [REPLY, first]


def test_the_end_of_the_channel_closes_the_generator(tools):
    worker = tools.worker()
    id_ = open_stream(worker, "says_when_closed", credit=1)
    chunks(worker, id_, 1)
    worker.call_socket.close()
    assert tools.read_line(1) == "closed\n"
    worker.side_socket.close()


def test_a_process_that_the_tool_forks_sends_nothing(tools):
    worker = tools.worker()
    id_ = open_stream(worker, "forks", credit=100)
    frames = []
    while (frame := worker.answer())[0] == CHUNK:
        frames.append(frame[3])
    assert frames == ["before", "parent", "parent"]
    assert frame[:2] == [REPLY, id_]


def test_time_in_the_tool_is_told(worker):
    id_ = open_stream(worker, "slowly", 3, 0.02, credit=1)
    told = 0
    for _ in range(3):
        told += worker.answer()[2]
        assert nothing_comes(worker, 0.05)
        give(worker, id_, 1)
    end = worker.answer()
    assert end[:2] == [REPLY, id_]
    assert told >= 3 * 20_000_000
    assert end[2] >= told


def test_no_descriptor_is_left(tools):
    worker = tools.worker()
    before = len(os.listdir(f"/proc/{worker.pid}/fd"))
    for tool in ["count_to", "async_count_to"] * 3:
        id_ = open_stream(worker, tool, 2, credit=1)
        chunks(worker, id_, 1)
        give(worker, id_, 5)
        chunks(worker, id_, 1)
        assert recv_frame(worker.call_socket)[:2] == [REPLY, id_]
    # The loop has some, and there is one.
    assert until(lambda: len(os.listdir(f"/proc/{worker.pid}/fd")) <= before + 4)
