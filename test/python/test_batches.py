"""Batches (docs/protocol.md, section 1), against a real worker: each call of one ends by itself."""

import json

import pytest
from harness import CLOSED, Failed, recv_exactly, send_frame
from pitcrew import Atom, Map, _core

BATCH = "pitcrew:batch"
BOTH = pytest.mark.parametrize("concurrency", [1, 8])


@pytest.fixture
def tools(start):
    zygote = start("--start", "fork", "--tools", "batch_tools", "--allow-import", "math", "--allow-eval")
    zygote.ready()
    return zygote


@pytest.fixture
def worker(tools):
    return tools.worker()


def batch(worker, tool, *calls, **named):
    return worker.call(BATCH, tool, [[list(args), named or None] for args in calls])


def told(outcomes):
    """Values, and the kinds of errors with their messages."""
    return [
        value if state == "ok" else (value["kind"], value["type"], value["message"].split("\n")[0])
        for state, value in outcomes
    ]


def test_values_in_order(worker):
    assert batch(worker, "note", *([n] for n in range(300))) == [["ok", n] for n in range(300)]
    assert worker.call("noted") == list(range(300))
    assert batch(worker, "note") == []


def test_what_raises_is_an_error_of_its_own(worker):
    good, zero, late = batch(worker, "divide", [6, 3], [1, 0], [1, 4])
    assert (good, late) == (["ok", 2.0], ["ok", 0.25])
    single = worker.fault("divide", 1, 0)
    assert zero == ["error", single] and "ZeroDivisionError" in zero[1]["traceback"]


def test_arguments_that_do_not_fit(worker):
    outcomes = batch(worker, "divide", [1], [1, 2, 3], [4, 2], [])
    assert [o[1]["kind"] for o in outcomes if o[0] == "error"] == ["bad_arguments"] * 3 and outcomes[2] == ["ok", 2.0]
    assert outcomes[0][1] == worker.fault("divide", 1)


def test_keywords_and_annotations(worker):
    calls = [[["a", 1], None], [[], {"x": "a"}], [["a"], {Atom("x"): "b", "y": 2}]]
    assert worker.call(BATCH, "kinds", calls) == [
        ["ok", [["bytes", "int"], {}]],
        ["ok", [[], {"x": "memoryview"}]],
        ["ok", [["bytes"], {"x": "memoryview", "y": "int"}]],
    ]


def test_the_name_may_be_bytes(worker):
    assert worker.call(BATCH, b"note", [[[1], None]]) == [["ok", 1]]


def test_an_unknown_tool_is_one_error_for_all(worker):
    fault = worker.fault(BATCH, "notte", [[[1], None]])
    assert fault["kind"] == "unknown_tool" and "'note'" in fault["message"]
    assert worker.fault(BATCH, BATCH, [["note", []]])["kind"] == "unknown_tool"


def test_what_is_allowed_is_allowed_in_batches(worker):
    assert batch(worker, "math:sqrt", [4], [-1], [9])[::2] == [["ok", 2.0], ["ok", 3.0]]
    assert batch(worker, "pitcrew:eval", ["1 + 1"], ["x"])[0] == ["ok", 2]
    assert worker.fault(BATCH, "os:getpid", [[[], None]])["kind"] == "not_allowed"
    assert worker.fault(BATCH, "math:nothing", [[[], None]])["kind"] == "unknown_tool"


# ---- Arguments and results that have no form


def clash():
    """A map with keys that Python calls equal."""
    return Map([(1, "a"), (1.0, "b")])


def test_arguments_that_cannot_be_read_are_refused_alone(worker):
    outcomes = batch(worker, "note", [1], [[clash(), "x" * 100]], [2])
    assert [outcomes[0], outcomes[2]] == [["ok", 1], ["ok", 2]]
    assert outcomes[1] == ["error", worker.fault("note", [clash(), "x" * 100])]
    assert outcomes[1][1]["kind"] == "decode_error" and outcomes[1][1]["path"] == [0, 0]
    names = worker.call(BATCH, "note", [[[], {1: 2}], [[], {"value": 3}]])
    assert told(names)[0][0] == "bad_arguments" and names[1] == ["ok", 3]


def test_strict_keys(worker):
    id_ = worker.send(BATCH, ["kinds", [[[clash()], None]]], None, {"keys": "strict"})
    assert worker.answer()[1::2] == [id_, [["ok", [["Map"], {}]]]]


def test_results_that_cannot_be_written(worker):
    outcomes = batch(worker, "make", [3, "bytes"], [3, "object"], [2, "bytes"])
    assert outcomes == [["ok", b"xxx"], ["error", worker.fault("make", 3, "object")], ["ok", b"xx"]]
    assert outcomes[1][1]["kind"] == "result_error" and outcomes[1][1]["path"] == [1]


def test_a_result_that_is_too_big(tools):
    worker = tools.worker(max_frame=4096)
    outcomes = batch(worker, "make", [1000, "bytes"], [5000, "bytes"], [1000, "bytes"])
    assert [len(outcomes[0][1]), outcomes[1][1]["kind"], len(outcomes[2][1])] == [1000, "too_big", 1000]
    assert worker.fault(BATCH, "make", [[[4060, "bytes"], None]] * 40)["kind"] == "too_big"
    assert batch(worker, "note", [1]) == [["ok", 1]]


def test_results_that_are_nested_as_deep_as_a_frame_allows(worker):
    # Around each value there are two arrays; what reads frames here counts the frame's own as well.
    assert [o[0] for o in batch(worker, "pitcrew:eval", *(deep(n) for n in (509, 511)))] == ["ok", "error"]


def deep(levels):
    return [f"x = []\nfor _ in range({levels} - 1): x = [x]\nx"]


def count_of_refs(worker):
    """How many references the next answer says that it has."""
    payload = recv_exactly(worker.call_socket, int.from_bytes(recv_exactly(worker.call_socket, 4)))
    assert payload[0] == 0x95 and payload[-5] == 0xCE
    return int.from_bytes(payload[-4:])


LIVE = "from pitcrew import _core; _core.live_refs()"


def test_references(worker):
    """Those of a result that could not be written are none."""
    worker.send(BATCH, ["make", [[[1, "ref"], None], [[2, "ref and object"], None], [[3, "ref"], None]]])
    assert count_of_refs(worker) == 2 and worker.call("pitcrew:eval", LIVE) == 2
    assert batch(worker, "make", [2, "ref and object"])[0][0] == "error"
    assert worker.call("pitcrew:eval", LIVE) == 2
    worker.send(BATCH, ["note", [[[1], None], [[[2]], None]]], None, {"ref": True})
    assert count_of_refs(worker) == 2 and worker.call("pitcrew:eval", LIVE) == 4


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["note"],
        ["note", 1],
        ["note", [], 2],
        [1, []],
        ["note", [[[]]]],
        ["note", [[1, None]]],
        ["note", [[[], 1]]],
        [b"\xff", []],
    ],
)
def test_what_is_no_batch_is_refused(worker, args):
    id_ = worker.send(BATCH, args)
    frame = worker.answer()
    assert frame[:2] == [_core.KIND_ERROR, id_] and frame[3]["kind"] == "protocol_error"
    assert worker.call("note", 1) == 1


def test_every_cut_of_a_frame_is_refused(worker):
    whole = _core.encode([_core.KIND_CALL, 1, BATCH, ["note", [[[1, "ab"], {"k": 2.5}], [[clash()], None]]], None])
    for n in range(20, len(whole)):
        worker.call_socket.sendall(n.to_bytes(4, "big") + whole[:n])
        frame = worker.answer()
        assert frame != CLOSED and frame[0] == _core.KIND_ERROR, n
    worker.last_id = 1
    assert batch(worker, "note", [1]) == [["ok", 1]]


def test_in_json(worker):
    payload = (
        b'[3,1,"pitcrew:batch",["divide",[[[6,3],null],[[1,0],{}],[[],{"a":1,"b":4}],[[],null]]],null]',
        b'[3,2,"pitcrew:batch",["pitcrew:eval",[[["b\'\'"],null],[["[1]"],null]]],null]',
        b'[3,3,"pitcrew:batch",["note",[]],null]',
        b'[3,4,"pitcrew:batch",["note"],null]',
    )
    answers = []
    for text in payload:
        worker.call_socket.sendall(len(text).to_bytes(4, "big") + text)
        n = int.from_bytes(worker.call_socket.recv(4), "big")
        answers.append(json.loads(worker.call_socket.recv(n)))
    first, second, third, fourth = answers
    assert [o[0] for o in first[3]] == ["ok", "error", "ok", "error"]
    assert [first[3][0][1], first[3][1][1]["type"], first[3][3][1]["kind"]] == [
        2.0,
        "ZeroDivisionError",
        "bad_arguments",
    ]
    assert second[3][0][1]["kind"] == "result_error" and second[3][1] == ["ok", [1]]
    assert third[3] == [] and fourth[0] == _core.KIND_ERROR and fourth[3]["kind"] == "protocol_error"


# ---- The end of all


@BOTH
def test_exceptions_that_end_programs_end_one_call(tools, concurrency):
    worker = tools.worker(concurrency=concurrency)
    outcomes = batch(worker, "raise_it", ["exit"], ["interrupt"]) + batch(worker, "later", ["SystemExit"], [1])
    assert told(outcomes) == [
        ("tool_error", "SystemExit", "exit"),
        ("tool_error", "KeyboardInterrupt", "interrupt"),
        ("tool_error", "SystemExit", "SystemExit"),
        1,
    ]


@BOTH
def test_cancelled_ends_the_batch(tools, concurrency):
    worker = tools.worker(concurrency=concurrency)
    with pytest.raises(Failed) as caught:
        worker.call(BATCH, "raise_it", [[["exit"], None], [["cancelled"], None], [["exit"], None]])
    assert caught.value.fault["kind"] == "cancelled"
    assert batch(worker, "note", [1]) == [["ok", 1]]


@BOTH
def test_an_interrupt_of_coroutines_reaches_all(tools, concurrency):
    worker = tools.worker(concurrency=concurrency)
    id_ = worker.send(BATCH, ["wait_for_ever", [[[n], None] for n in range(3)]])
    assert [tools.read_line(1) for _ in range(3)] == ["inside\n"] * 3
    assert worker.cancel(id_) == "started"
    frame = worker.answer()
    assert frame[:2] == [_core.KIND_ERROR, id_] and frame[3]["kind"] == "cancelled"
    assert sorted(worker.call("noted")) == [0, 1, 2]


@BOTH
def test_a_process_that_a_call_has_forked_ends(tools, concurrency):
    worker = tools.worker(concurrency=concurrency)
    assert batch(worker, "fork_and_return", [1], [2]) == [["ok", 1], ["ok", 1]]
    assert batch(worker, "note", [1]) == [["ok", 1]]


def test_no_call_begins_after_the_deadline(worker):
    id_ = worker.last_id = 1
    frame = [_core.KIND_CALL, id_, BATCH, ["note", [[[1], None]]], None, None, 1]
    send_frame(worker.call_socket, frame)
    assert worker.answer()[3]["kind"] == "cancelled"
    assert worker.call("noted") == []


# ---- Coroutines, and all at once


@BOTH
def test_coroutines_run_together(tools, concurrency):
    worker = tools.worker(concurrency=concurrency)
    assert batch(worker, "all_there", *[[5]] * 5) == [["ok", 5]] * 5
    outcomes = batch(worker, "later", ["a"], ["ValueError"], [3])
    assert told(outcomes) == ["a", ("tool_error", "ValueError", "ValueError"), 3]
    assert "in later" in outcomes[1][1]["traceback"] and "pitcrew/batch.py" not in outcomes[1][1]["traceback"]


@BOTH
def test_sessions(tools, concurrency):
    worker = tools.worker(concurrency=concurrency)
    for tool, calls, values in [
        ("remember", [["a", 1], ["b", 2]], [1, 2]),
        ("recall", [["a"], ["b"]], [1, 2]),
    ]:
        id_ = worker.send(BATCH, [tool, [[args, None] for args in calls]], None, {"session": 7})
        assert worker.answer()[1::2] == [id_, [["ok", value] for value in values]]


@BOTH
def test_all_at_once(tools, concurrency):
    worker = tools.worker(concurrency=concurrency)
    assert batch(worker, "squares", *([n] for n in range(5))) == [["ok", n * n] for n in range(5)]
    assert worker.call("seen") == [5]
    assert worker.call("squares", [1, 2]) == [1, 4]  # a call is a call as ever
    assert batch(worker, "later_squares", [2], [3]) == [["ok", 4], ["ok", 9]]
    assert [t[:2] for t in told(batch(worker, "later_squares", [2], [-1]))] == [("tool_error", "ValueError")] * 2
    assert batch(worker, "squares") == [] and worker.call("seen") == [5, 2]


def test_what_a_tool_gets_at_once(worker):
    calls = [[[1], None], [[1, 2], None], [[], {"a": 1}], [[], None], [[1], {"a": 2}], [[[3]], {}]]
    outcomes = worker.call(BATCH, "as_given", calls)
    assert outcomes[:4] + outcomes[5:] == [["ok", 1], ["ok", (1, 2)], ["ok", {"a": 1}], ["ok", ()], ["ok", [3]]]
    assert outcomes[4][1]["kind"] == "bad_arguments" and "not both" in outcomes[4][1]["message"]
    assert batch(worker, "lengths", ["é"], ["b"]) == [["ok", ["bytes", 2]], ["ok", ["bytes", 1]]]


def test_errors_of_some(worker):
    outcomes = batch(worker, "some_fail", [1], [-1], [0], [2])
    assert [outcomes[0], outcomes[3]] == [["ok", 1], ["ok", 2]]
    assert told(outcomes)[1] == ("tool_error", "ValueError", "no -1")
    assert outcomes[2][1]["kind"] == "result_error" and outcomes[2][1]["path"] == []
    # One that cannot be read is not in the list.
    outcomes = batch(worker, "squares", [2], [clash()], [3])
    assert [outcomes[0], outcomes[1][1]["kind"], outcomes[2]] == [["ok", 4], "decode_error", ["ok", 9]]


@pytest.mark.parametrize(
    ("what", "kind", "text"),
    [
        ("raise", "tool_error", "all of them"),
        ("short", "result_error", "returned 2 for 3"),
        ("text", "result_error", "not a value of type str"),
        ("dict", "result_error", "not a value of type dict"),
        ("none", "result_error", "not a value of type NoneType"),
    ],
)
def test_what_a_tool_must_not_return(worker, what, kind, text):
    outcomes = batch(worker, "misbehave", [what], ["b"], ["c"])
    assert [(o[0], o[1]["kind"]) for o in outcomes] == [("error", kind)] * 3
    assert all(text in o[1]["message"] for o in outcomes)


def test_rows_of_an_array(worker):
    pytest.importorskip("numpy")
    outcomes = batch(worker, "doubles", [[1.0, 2.0]], [[3.0, 4.0]])
    assert [o[1].tolist() if hasattr(o[1], "tolist") else list(o[1]) for o in outcomes] == [[2.0, 4.0], [6.0, 8.0]]


def test_the_manifest_says_which_tools_take_all_at_once(worker):
    tools = {tool["name"]: tool["batch"] for tool in worker.first[2]["tools"]}
    assert tools["squares"] and not tools["note"]


# ---- Memory

BLOCKS = "import gc, sys\ngc.collect()\nsys.getallocatedblocks()"


@pytest.mark.parametrize(
    ("tool", "calls"),
    [
        ("note", [[[1, "text"]], [[clash()]], [{"a": [1.5]}], []]),
        ("divide", [[1, 0], [4, 2], [1]]),
        ("make", [[10, "bytes"], [10, "object"], [10, "ref and object"]]),
        ("raise_it", [["exit"], ["interrupt"]]),
        ("raise_it", [["exit"], ["cancelled"], ["exit"]]),
        ("later", [["a"], ["ValueError"], []]),
        ("squares", [[1], [2], [clash()]]),
        ("squares", [["a"], [2]]),
        ("as_given", [[1, 2], [3], []]),
        ("some_fail", [[-1], [0], [1]]),
        ("misbehave", [["short"], ["b"]]),
        ("misbehave", [["text"], ["b"]]),
        ("later_squares", [[1], [-1]]),
        ("later_squares", [[1], [2]]),
    ],
)
def test_nothing_is_left(worker, tool, calls):
    def blocks(rounds):
        for _ in range(rounds):
            worker.send(BATCH, [tool, [[args, None] for args in calls]])
            assert worker.answer() != CLOSED
        worker.call("forget_notes")
        return worker.call("pitcrew:eval", BLOCKS)

    rounds = 400
    for attempts_left in (2, 1, 0):  # a leak comes every time, what else grows does not
        before = blocks(rounds)
        grown = blocks(rounds) - before
        if grown < rounds * 3 // 4:
            break
        assert attempts_left, f"{grown} blocks in {rounds} rounds"
