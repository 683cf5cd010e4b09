"""The call and the side channel of docs/protocol.md, against a real worker that a real zygote has forked."""

import os
import select
import signal
import socket
import struct

import pytest
from harness import (
    CLOSED,
    HELLO,
    SECONDS,
    Failed,
    Worker,
    gone,
    recv_frame,
    run_python,
    send_frame,
    until,
    wait_readable,
)
from pitcrew import Atom, _core

KIND_NOBODY_KNOWS = 99


# ---- Calls


def test_positional_and_keyword_arguments(worker):
    assert worker.call("add", 1, 2) == 3
    assert worker.call("add", 1) == 2
    assert worker.call("add", 1, b=5) == 6
    assert worker.call("add", a=1, b=5) == 6
    assert worker.call("callable", 1, c=3) == [1, 2.0, 3]
    assert worker.call("absolute", -4) == 4


def test_more_arguments_than_fit_inline(worker):
    args, kwargs = list(range(100)), {f"k{i}": i for i in range(100)}
    assert worker.call("shape", *args, **kwargs)[:2] == [args, kwargs]


def test_keyword_names_that_are_atoms_become_plain_strings(worker):
    id_ = worker.send("shape", [], {Atom("a"): 1, "b": 2})
    assert worker.answer()[3] == [[], {"a": 1, "b": 2}, ["str", "str"]]
    assert id_ == worker.last_id


def test_values_of_every_type_come_back(worker):
    for value in [None, True, 0, -1, 2**64, 1.5, "é", b"\xff", [1, [2]], (1, (2,)), {"a": {1: 2}}, Atom("ok")]:
        back = worker.call("echo", value)
        assert back == value and type(back) is type(value)
    assert worker.call("atom") == {Atom("ok"): (1, Atom("error"))}


def test_parameters_annotated_as_bytes_get_bytes(worker):
    got = worker.call("wants_bytes", "a", "b", "c", "d", key="e", other="f", more="g")
    assert got == ["str", "bytes", "memoryview", "memoryview", "bytes", "str", "bytes"]
    assert worker.call("wants_bytes", "a", data="b") == ["str", "bytes", "NoneType", "str"]
    assert worker.call("wants_bytes", "a", 5) == ["str", "int", "NoneType", "str"]


def test_a_reply_carries_the_time_of_the_tool(worker):
    worker.send("add", [1, 2])
    kind, id_, python_ns, value = worker.answer()
    assert (kind, id_, value) == (_core.KIND_REPLY, 1, 3)
    assert 0 < python_ns < 30_000_000_000


def test_calls_that_wait_are_answered_in_order(worker):
    ids = [worker.send("echo", [n]) for n in range(150)]
    answers = [worker.answer() for _ in ids]
    assert [frame[1] for frame in answers] == ids
    assert [frame[3] for frame in answers] == list(range(150))


def test_a_large_frame_each_way(worker):
    data = os.urandom(1 << 20) * 16
    assert worker.call("echo", data) == data
    assert worker.call("add", 1) == 2


def test_large_frames_cross(tools):
    """64 MiB each way at once: the answer to one call is written while the next call comes."""
    token = tools.request(1)
    worker = Worker(tools.listener, token, {**HELLO, "max_frame": 1 << 27})
    tools.workers.append(worker)
    data = os.urandom(1 << 20) * 64
    calls = [_core.encode([_core.KIND_CALL, id_, "echo", [data], None, None]) for id_ in (1, 2)]
    stream = memoryview(b"".join(struct.pack(">I", len(call)) + call for call in calls))
    sock, answers = worker.call_socket, bytearray()
    sock.setblocking(False)
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLOUT)
    written, written_at_first_answer = 0, None
    while len(bounds := bounds_of_frames(answers)) < 2:
        [(_, events)] = poll.poll(SECONDS * 1000)
        if events & select.POLLIN:
            piece = sock.recv(1 << 20)
            assert piece, "the worker is gone"
            answers += piece
            written_at_first_answer = written_at_first_answer or written
        if events & select.POLLOUT:
            written += sock.send(stream[written : written + (1 << 20)])
            if written == len(stream):
                poll.modify(sock, select.POLLIN)
    assert written_at_first_answer < len(stream)
    frames = [_core.decode(bytes(answers[begin:end])) for begin, end in bounds]
    assert [(frame[1], frame[3] == data) for frame in frames] == [(1, True), (2, True)]


def bounds_of_frames(data):
    """Where the payloads of the whole frames at the beginning are."""
    bounds, begin = [], 4
    while begin <= len(data) and begin + (length := struct.unpack_from(">I", data, begin - 4)[0]) <= len(data):
        bounds.append((begin, begin + length))
        begin += length + 4
    return bounds


def test_a_frame_that_comes_byte_by_byte(worker):
    payload = _core.encode([_core.KIND_CALL, 9, "add", [40, 2], None, None])
    for byte in struct.pack(">I", len(payload)) + payload:
        worker.call_socket.send(bytes([byte]))
    assert worker.answer()[3] == 42


def test_fields_that_are_not_known_are_ignored(worker):
    send_frame(worker.call_socket, [_core.KIND_CALL, 3, "add", [1, 2], None, {"deadline_ms": 5, "new": [1]}, "new", {}])
    assert worker.answer()[3] == 3


# ---- Errors: each is one frame, and the worker goes on


def test_a_tool_that_raises(worker):
    fault = worker.fault("fail", "it broke")
    assert (fault["kind"], fault["type"], fault["message"]) == ("tool_error", "worker_tools.Oops", "it broke")
    assert fault["path"] is None
    assert fault["traceback"].startswith("Traceback (most recent call last):\n  File ")
    assert "in fail" in fault["traceback"] and "/python/pitcrew/" not in fault["traceback"]
    assert worker.call("add", 1) == 2


def test_a_chain_of_exceptions_is_told_whole(worker):
    fault = worker.fault("chain")
    assert (fault["type"], fault["message"]) == ("RuntimeError", "outer")
    assert "inner" in fault["traceback"] and "direct cause" in fault["traceback"]


@pytest.mark.parametrize(("how", "type_"), [("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt")])
def test_a_tool_cannot_leave_by_an_exception(worker, how, type_):
    fault = worker.fault("leave", how)
    assert (fault["kind"], fault["type"]) == ("tool_error", type_)
    assert worker.call("pid") == worker.pid


def test_an_exception_without_a_text(worker):
    fault = worker.fault("no_text")
    assert fault["type"] == "worker_tools.NoText" and "RuntimeError" in fault["message"]


def test_stop_iteration_and_endless_recursion(worker):
    assert worker.fault("stop_iteration")["type"] == "StopIteration"
    assert worker.fault("recurse", 0)["type"] == "RecursionError"
    assert worker.call("add", 1) == 2


def test_long_messages_are_bounded_and_surrogates_escaped(worker):
    fault = worker.fault("fail", "x" * (1 << 20))
    assert len(fault["message"]) <= 16 * 1024 and "left out" in fault["message"]
    assert len(fault["traceback"]) <= 64 * 1024


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ([], {}, "missing"),
        ([1, 2, 3], {}, "positional"),
        ([1], {"c": 1}, "unexpected keyword"),
        ([1], {"a": 1}, "multiple"),
    ],
)
def test_arguments_that_do_not_fit(worker, args, kwargs, words):
    fault = worker.fault("add", *args, **kwargs)
    assert (fault["kind"], fault["type"]) == ("bad_arguments", "TypeError")
    assert words in fault["message"] and fault["traceback"] is None


def test_a_type_error_from_inside_is_the_tools_own(worker):
    assert worker.fault("type_error_inside")["kind"] == "tool_error"


def test_keyword_names_that_are_no_strings(worker):
    worker.send("shape", [], {1: 2})
    fault = worker.answer()[3]
    assert fault["kind"] == "bad_arguments" and "not 1" in fault["message"]


def test_a_keyword_twice(worker):
    payload = bytearray(_core.encode([_core.KIND_CALL, 1, "shape", []]))
    payload[0] = 0x95  # one more element: a map that holds "a" and the atom a
    payload += b"\x82\xa1a\x01\xd4\x01a\x02"
    worker.call_socket.sendall(struct.pack(">I", len(payload)) + payload)
    fault = worker.answer()[3]
    assert fault["kind"] == "decode_error" and "'a'" in fault["message"]


def test_an_unknown_tool_names_close_matches(worker):
    fault = worker.fault("ecko")
    assert fault["kind"] == "unknown_tool" and "'echo'" in fault["message"]
    assert "Oops" not in worker.fault("zzzzzz")["message"]


def test_a_result_that_cannot_be_encoded_names_the_path(worker):
    fault = worker.fault("unencodable")
    assert fault["kind"] == "result_error" and fault["path"] == ["x", 3]
    assert fault["message"].startswith('result["x"][3]: ') and "complex" in fault["message"]
    assert worker.call("add", 1) == 2


def test_a_generator_is_no_result_but_of_a_stream(worker):
    fault = worker.fault("numbers")
    assert fault["kind"] == "result_error" and "generator" in fault["message"] and "Pitcrew.stream" in fault["message"]


def test_arguments_that_cannot_be_decoded_name_the_path(worker):
    payload = bytearray(_core.encode([_core.KIND_CALL, 1, "echo"]))
    payload[0] = 0x95
    payload += b"\x92\x01\x81\xa1x\x82\xa1a\x01\xd4\x01a\x02\xc0"  # args: [1, {"x": {"a": 1, a: 2}}]
    worker.call_socket.sendall(struct.pack(">I", len(payload)) + payload)
    fault = worker.answer()[3]
    assert fault["kind"] == "decode_error" and fault["path"] == [1, "x"]
    assert "args[1][\"x\"]: the keys 'a' and Atom('a')" in fault["message"]


def test_a_reply_over_the_limit(tools):
    token = tools.request(1)
    worker = Worker(tools.listener, token, {**HELLO, "max_frame": 100_000})
    tools.workers.append(worker)
    fault = worker.fault("big", 200_000)
    assert fault["kind"] == "too_big" and "100" in fault["message"]
    assert len(worker.call("big", 99_000)) == 99_000


def test_a_depth_that_the_vm_announced(tools):
    token = tools.request(1)
    worker = Worker(tools.listener, token, {**HELLO, "max_depth": 3})
    tools.workers.append(worker)
    assert worker.call("echo", [[[1]]]) == [[[1]]]
    assert worker.fault("echo", [[[[1]]]])["kind"] == "decode_error"


def test_frames_of_an_unknown_kind_are_answered_and_repeat_the_id(worker):
    for sock in (worker.call_socket, worker.side_socket):
        send_frame(sock, [KIND_NOBODY_KNOWS, 77, "x"])
        frame = recv_frame(sock)
        assert frame[:2] == [_core.KIND_ERROR, 77] and frame[3]["kind"] == "unknown_kind"
        send_frame(sock, [_core.KIND_ERROR, 78, 0, {}])  # never answered, or two ends would go on for ever
    assert worker.ping(5) == {"started": 0}
    assert worker.call("add", 1) == 2


@pytest.mark.parametrize(
    "rest", [[5, [], None], ["add"], ["add", 5, None], ["add", [], 5]], ids=["tool", "short", "args", "kwargs"]
)
def test_call_frames_of_a_wrong_shape(worker, rest):
    send_frame(worker.call_socket, [_core.KIND_CALL, 12, *rest])
    frame = worker.answer()
    assert frame[:2] == [_core.KIND_ERROR, 12] and frame[3]["kind"] in ("protocol_error", "decode_error")
    assert worker.call("add", 1) == 2


@pytest.mark.parametrize(
    "frame", [b"\xff\xff\xff\xff", b"\0\0\0\1\x05", b"\0\0\0\2\x91\x03", b"\0\0\0\0", b"\0\0\0\4\x92\xa1x\x01"]
)
def test_a_frame_that_cannot_be_delimited_ends_the_worker(tools, worker, frame):
    worker.call_socket.sendall(frame)
    assert worker.answer() == CLOSED
    assert tools.expect("exit", 1)[3:5] == ["exit", 1]


# ---- The side channel


def test_ping_tells_which_call_runs(worker):
    assert worker.ping(1) == {"started": 0}


def test_pong_comes_while_a_tool_holds_the_gil(worker):
    """A sum in C, over a range that takes far longer than the answer, holds the GIL all the time."""
    id_ = worker.send("hold_gil", [10**12])
    pongs = [worker.ping(n) for n in range(2, 2000)]
    assert pongs[-1] == {"started": id_}
    assert not wait_readable(worker.call_socket.fileno(), 0), "the tool has not ended"


def test_many_pings_at_once(worker):
    for n in range(300):
        send_frame(worker.side_socket, [_core.KIND_PING, n])
    assert [recv_frame(worker.side_socket)[1] for _ in range(300)] == list(range(300))


def test_a_side_channel_that_closes_leaves_the_worker_at_work(worker):
    worker.side_socket.close()
    assert worker.call("add", 1) == 2


# ---- The end


def test_end_of_file_ends_the_worker_in_order(tools, worker):
    worker.call_socket.close()
    assert tools.expect("exit", 1)[2:5] == [worker.pid, "exit", 0]


def test_shutdown_ends_the_worker_in_order(tools, worker):
    send_frame(worker.call_socket, [_core.KIND_SHUTDOWN, 0])
    assert worker.answer() == CLOSED
    assert tools.expect("exit", 1)[2:5] == [worker.pid, "exit", 0]


def test_a_reply_that_nobody_reads_is_no_failure(tools, worker):
    worker.send("big", [1 << 24])
    assert wait_readable(worker.call_socket.fileno())
    worker.close()
    assert tools.expect("exit", 1)[2:5] == [worker.pid, "exit", 0]


def test_hooks_run_around_the_workers_life(start, tmp_path):
    log = tmp_path / "log"
    zygote = start("--start", "fork", "--tools", "worker_hooks", env={"PITCREW_TEST_LOG": str(log)})
    zygote.ready()
    worker = zygote.worker(1)
    assert worker.call("nothing") is None
    assert log.read_text() == f"start {worker.pid}\n"
    send_frame(worker.call_socket, [_core.KIND_SHUTDOWN, 0])
    assert zygote.expect("exit", 1)[3:5] == ["exit", 0]
    words = [line.split() for line in log.read_text().splitlines()]
    assert words == [[word, str(worker.pid)] for word in ("start", "stop-1", "stop-2", "atexit-of-worker")]
    assert "a stop hook that fails" in zygote.read_out(1, 2)


def test_exit_functions_of_libraries_run_for_what_was_made_in_the_worker(start, tmp_path):
    log = tmp_path / "log"
    zygote = start("--start", "fork", "--tools", "exit_functions", env={"PITCREW_TEST_LOG": str(log)})
    zygote.ready()
    first, second = zygote.worker(1), zygote.worker(2)
    folder = first.call("prepare")
    try:
        send_frame(first.call_socket, [_core.KIND_SHUTDOWN, 0])
        assert zygote.expect("exit", 1)[3:5] == ["exit", 0]
        words = sorted(line.split() for line in log.read_text().splitlines())
        pid = str(first.pid)
        expected = ["hook-atexit", "hook-finalize", "tool-logging", "tool-multiprocessing"]
        assert words == [[word, pid] for word in expected]
        assert second.call("prepare") == folder
        assert os.path.isdir(folder), "the second worker uses it still"
    finally:
        os.rmdir(folder)


def test_a_start_hook_that_raises(start):
    zygote = start("--start", "fork", "--tools", "worker_hook_fails")
    zygote.ready()
    worker = zygote.worker(1)
    kind, id_, _, fault = worker.first
    assert (kind, id_, worker.side_socket) == (_core.KIND_ERROR, 0, None)
    assert (fault["kind"], fault["type"], fault["message"]) == ("start_error", "ValueError", "the database is away")
    assert "worker_hook_fails.py" in fault["traceback"]
    assert zygote.expect("exit", 1)[3:5] == ["exit", 1]


def test_a_vm_that_is_not_there(tools):
    tools.listener.close()
    tools.request(1)
    tools.expect("forked", 1)
    assert tools.expect("exit", 1)[3:5] == ["exit", 1]
    assert "could not reach the VM" in tools.read_out(1, 2)


def test_a_vm_that_refuses_the_token(tools):
    tools.request(1)
    tools.expect("forked", 1)
    connection, _ = tools.listener.accept()
    connection.close()
    assert tools.expect("exit", 1)[3:5] == ["exit", 1]


def test_a_vm_that_speaks_another_protocol(tools):
    token = tools.request(1)
    worker = Worker(tools.listener, token, {**HELLO, "protocol": 2})
    tools.workers.append(worker)
    assert worker.first == CLOSED
    tools.expect("forked", 1)
    assert "another protocol" in tools.read_out(1, 2)


# ---- Processes that tools fork


def test_a_forked_child_has_no_channel_and_cannot_serve(worker):
    sockets, said = eval(worker.call("fork_and_look", 1))
    assert sockets == [] and "forked by a tool" in said
    assert worker.call("add", 1) == 2


def test_a_forked_child_that_returns_from_the_tool_answers_nobody(tools, worker):
    child, status = worker.call("fork_and_return")
    assert child != worker.pid and status == 1
    assert worker.call("add", 1) == 2
    assert "forked by a tool" in tools.read_line(1, 2)


@pytest.mark.parametrize(("how", "code"), [([], 0), ([None], 0), ([0], 0), ([3], 3), ([259], 3), (["no more"], 1)])
def test_a_forked_child_leaves_as_it_says(tools, worker, how, code):
    assert worker.call("fork_and_leave", *how) == code
    worker.call("say", "the end of output")
    if how == ["no more"]:
        assert tools.read_line(1, 2) == "no more\n"
    assert tools.read_line(1, 2) == "THE END OF OUTPUT\n", "and nothing else was printed"


def test_a_process_of_a_start_hook_has_no_channel_and_does_not_go_on(start):
    zygote = start("--start", "fork", "--tools", "fork_in_hook")
    zygote.ready()
    worker = zygote.worker(1)
    stays, ends = worker.call("found")
    try:
        assert ends == [7, 1]
        assert "start hook forked" in zygote.read_line(1, 2)
        assert not [link for link in links_of(stays) if link in set(sockets_of(worker.pid))]
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.answer() == CLOSED, "although the hook's process lives"
        assert os.path.exists(f"/proc/{stays}/environ")
    finally:
        os.kill(stays, signal.SIGKILL)


def links_of(pid):
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]


def sockets_of(pid):
    return [link for link in links_of(pid) if link.startswith("socket:")]


def test_a_process_of_a_stop_hook_does_not_go_on(start):
    zygote = start("--start", "fork", "--tools", "fork_in_hook")
    zygote.ready()
    worker = zygote.worker(1)
    stays, _ = worker.call("found")
    os.kill(stays, signal.SIGKILL)
    send_frame(worker.call_socket, [_core.KIND_SHUTDOWN, 0])
    assert worker.answer() == CLOSED
    assert zygote.expect("exit", 1)[3:5] == ["exit", 0]
    assert zygote.read_out(1, 1) == "stopped 1\n"


def test_multiprocessing_with_fork(worker):
    assert worker.call("multiprocess", 5) == [5, 4, 3, 2, 1]
    assert worker.call("add", 1) == 2


def test_subprocesses_and_threads(worker):
    assert worker.call("subprocess_environment", "PITCREW_INSTANCE").endswith("-00000001")
    assert worker.call("thread_sum", 1000) == 499500


def test_end_of_file_is_seen_although_a_child_lives(tools, worker):
    child = worker.call("leave_child_behind")
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.answer() == CLOSED
    tools.expect("exit", 1)
    assert gone(child)


def test_serving_twice_is_refused(worker):
    fault = worker.fault("serve_again", 1)
    assert fault["type"] == "RuntimeError" and "already" in fault["message"]


# ---- Signals


def test_a_signal_handler_of_pythons_runs_between_calls():
    """In a process of its own: serve on a socket pair, a handler that leaves, and a signal while it waits."""
    done = run_python(
        """
import os, signal, socket, sys, threading
from pitcrew import _core
call, vm = socket.socketpair()
side, vm_side = socket.socketpair()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
# The other end answers once serve is at work, and only then sends the signal.
def vm_thread():
    payload = _core.encode([3, 1, "f", [], None])
    vm.sendall(len(payload).to_bytes(4, "big") + payload)
    vm.recv(100)
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        if done.wait(0.05):
            return
done = threading.Event()
thread = threading.Thread(target=vm_thread)
thread.start()
try:
    _core.serve(call.fileno(), side.fileno(), {"f": (lambda: 1, None)})
finally:
    done.set()
"""
    )
    assert (done.returncode, done.stderr) == (5, "")


# ---- Leaks

no_sanitizer = pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer keeps memory")


@no_sanitizer
def test_calls_of_every_kind_leak_no_memory(worker):
    """The resident set after thousands of calls that end in each possible way is what it was after hundreds."""

    def every_kind(rounds):
        for n in range(rounds):
            worker.call("echo", {"k": [n, (1.5, "é" * 50, 2**70)], (n, "t"): b"x" * 100})
            worker.call("shape", *range(20), **{f"key_{n % 300}_{i}": i for i in range(20)})
            for tool, args in [("fail", ["x" * 200]), ("add", []), ("nope", []), ("unencodable", [])]:
                with pytest.raises(Failed):
                    worker.call(tool, *args)
            assert worker.call("later") == 1

    def resident():
        return int(worker.call("status", "VmRSS").split()[0])

    every_kind(400)
    before = resident()
    every_kind(1200)
    assert resident() - before < 1500, "KiB"


@no_sanitizer
def test_a_large_frame_gives_its_memory_back(worker):
    worker.call("add", 1)
    before = int(worker.call("status", "VmRSS").split()[0])
    assert len(worker.call("echo", b"x" * (1 << 25))) == 1 << 25
    assert int(worker.call("status", "VmRSS").split()[0]) - before < 8 * 1024


def test_serve_refuses_what_is_no_table_of_tools():
    here, there = socket.socketpair()
    with here, there:
        for tools in [{1: (len, None)}, {"a": len}, {"a": (1, None)}, {"a": (len, [])}, {"a": (len,)}]:
            with pytest.raises(TypeError):
                _core.serve(here.fileno(), there.fileno(), tools)


def test_a_frame_is_written_from_a_list_or_from_its_bytes():
    here, there = socket.socketpair()
    with here, there:
        for frame in ([1, 0, {"a": [1]}], []):
            for form in (frame, _core.encode(frame)):
                _core.write_frame(here.fileno(), form)
                assert recv_frame(there) == frame
        for wrong in ("text", (1, 0), None, bytearray(b"\x90")):
            with pytest.raises(TypeError):
                _core.write_frame(here.fileno(), wrong)


# ---- What a ping may ask for

IN_C, MEMORY, TRIM, COLLECT = 1, 2, 4, 8


def test_a_ping_is_answered_with_what_it_asks_for(worker):
    assert worker.ping(1) == {"started": 0}
    assert worker.ping(2, 0) == {"started": 0}
    assert worker.ping(3, IN_C) == {"started": 0, "in_c_ms": 0}
    pong = worker.ping(4, MEMORY)
    assert pong.keys() == {"started", "trims", "trimmed", "steps", "private"}
    assert pong["trims"] == 0 and pong["steps"] == [] and 1 << 16 < pong["private"] < 1 << 30
    assert worker.ping(5, 1 << 20) == {"started": 0}


def test_an_idle_worker_is_woken_to_give_memory_back_and_does_it_once(worker):
    assert until(lambda: worker.ping(1, TRIM)["trims"] == 1)
    assert worker.ping(2, MEMORY)["trimmed"] > 0
    assert worker.call("add", 1) == 2
    assert worker.ping(3, MEMORY)["trims"] == 1


def pongs_until_one(worker, count, asks):
    pongs = []

    def done():
        pongs.append(worker.ping(1, asks))
        return pongs[-1][count] == 1

    assert until(done)
    return pongs


def test_each_step_is_told_once(worker):
    pongs = pongs_until_one(worker, "trims", TRIM)
    assert all(pong["steps"] == [] for pong in pongs[:-1])
    (collect, *collected), (trim, *given_back) = pongs[-1]["steps"]  # there are no hooks
    assert collect == "collect" and trim == "trim"
    assert collected[0] > 0 and collected[1] == given_back[0] and given_back[1] == pongs[-1]["trimmed"]
    assert collected[3] >= 0 and given_back[3] is None
    assert worker.ping(2, MEMORY)["steps"] == []


def test_garbage_is_collected_when_a_ping_says_so(worker):
    pongs = pongs_until_one(worker, "collects", COLLECT)
    assert pongs[-1].keys() == {"started", "collects", "collected"}
    assert all(pong["collected"] is None for pong in pongs[:-1])
    assert pongs[-1]["collected"][0] == "collect" and pongs[-1]["collected"][4] >= 0
    assert worker.ping(2, MEMORY)["trims"] == 0


def test_memory_is_given_back_when_the_call_has_ended(worker, tmp_path):
    os.mkfifo(fifo := str(tmp_path / "fifo"))
    id_ = worker.running("read_file", fifo)
    assert [worker.ping(n, TRIM)["trims"] for n in range(20)] == [0] * 20
    with open(fifo, "w") as file:
        file.write("x")
    assert worker.answer()[1] == id_
    assert until(lambda: worker.ping(21, MEMORY)["trims"] == 1)
