"""Frames in JSON, against a real worker: docs/protocol.md, section 1, and docs/json.md."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from harness import CLOSED, HELLO, Worker, recv_exactly, send_frame
from pitcrew import _core

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

CALL, REPLY, ERROR = _core.KIND_CALL, _core.KIND_REPLY, _core.KIND_ERROR


@pytest.fixture
def tools(start):
    zygote = start("--start", "fork", "--tools", "worker_tools", "--tools", "json_tools")
    assert zygote.ready()["start"] == "fork"
    return zygote


def framed(payload: str | bytes) -> bytes:
    data = payload if isinstance(payload, bytes) else payload.encode()
    return struct.pack(">I", len(data)) + data


def send_text(worker: Worker, payload: str | bytes) -> None:
    worker.call_socket.sendall(framed(payload))


def answer_text(worker: Worker) -> str:
    header = recv_exactly(worker.call_socket, 4)
    if header is None:
        return CLOSED
    payload = recv_exactly(worker.call_socket, struct.unpack(">I", header)[0])
    assert payload is not None
    return payload.decode()


def ask(worker: Worker, tool: str, *args: Any, **kwargs: Any) -> list[Any]:
    """The answer to a call in JSON, with its id checked."""
    worker.last_id += 1
    send_text(worker, json.dumps([CALL, worker.last_id, tool, args, kwargs or None, None], separators=(",", ":")))
    frame = json.loads(answer_text(worker))
    assert frame[1] == worker.last_id
    return frame


def call(worker: Worker, tool: str, *args: Any, **kwargs: Any) -> Any:
    kind, _, python_ns, value = ask(worker, tool, *args, **kwargs)
    assert kind == REPLY and python_ns >= 0, value
    return value


def fault(worker: Worker, tool: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    kind, _, python_ns, value = ask(worker, tool, *args, **kwargs)
    assert kind == ERROR and python_ns >= 0, value
    return value


def works(worker: Worker) -> None:
    """It goes on, in both formats."""
    assert call(worker, "add", 1, 2) == 3
    assert worker.call("add", 1, 2) == 3


# ---- Values


@pytest.mark.parametrize(
    "text",
    [
        "null", "true", "false", "0", "-1", "9223372036854775807", "-9223372036854775808",
        "0.1", "-0.0", "5e-324", "1.7976931348623157e+308", "1e+16", "123456789.125",
        '""', '"text"', '"é 😀 \\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\x7f"',
        "[]", "{}", "[[],{}]", '{"":{"é":[1,null]}}',
    ],
)  # fmt: skip
def test_the_text_comes_back_as_it_went(worker, text):
    send_text(worker, f'[3,7,"echo",[{text}],null,null]')
    answer = answer_text(worker)
    head, _, value = answer.partition(",7,")
    assert head == "[4" and value.split(",", 1)[1] == text + "]"


LEAF = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    LEAF | TEXT, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEY, inner, max_size=5), max_leaves=20
)


def test_any_value_is_written_as_the_standard_library_writes_it(worker):
    @hypothesis.settings(max_examples=200, deadline=None, database=None)
    @hypothesis.given(VALUES)
    def check(value):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        send_text(worker, f'[3,1,"echo",[{text}],null,null]')
        assert answer_text(worker).split(",", 3)[3] == text + "]"

    check()


def test_what_comes_is_plain_python(worker):
    assert [call(worker, "types", value) for value in (None, True, 1, 1.0, "a", [], {})] == [
        "NoneType", "bool", "int", "float", "str", "list", "dict",
    ]  # fmt: skip
    assert call(worker, "annotated", "text", view="text") == ["str", "str"], "JSON carries no bytes to make of them"


def test_arguments_by_place_and_by_name(worker):
    assert call(worker, "add", 1, b=5) == 6
    assert call(worker, "add", a=1, b=5) == 6
    assert call(worker, "shape", 1, [2], é={"x": None}) == [[1, [2]], {"é": {"x": None}}, ["str"]]
    args, kwargs = list(range(100)), {f"k{i}": i for i in range(100)}
    assert call(worker, "shape", *args, **kwargs)[:2] == [args, kwargs]
    send_text(worker, '[3,1,"add",[1],{},null]')
    assert json.loads(answer_text(worker))[3] == 2


def test_results_of_derived_types_are_what_they_are_derived_from(worker):
    derived = ["ok", 3, [1, 2], {"x": 1}, {"y": 2}, 0.5, "text", {"key": 1}]
    assert call(worker, "derived") == derived


def test_a_tuple_is_an_array(worker):
    assert call(worker, "evaluate", "(1, (), [(2,)])") == [1, [], [[2]]]


def test_large_texts_each_way(worker):
    text = "é\n" * (1 << 19)
    assert call(worker, "echo", text) == text


def test_both_formats_on_one_worker(worker):
    for n in range(20):
        assert call(worker, "echo", [n]) == [n]
        assert worker.call("echo", (n, b"\xff")) == (n, b"\xff")


def test_calls_that_wait_are_answered_in_their_own_formats(worker):
    send_text(worker, '[3,1,"echo",["json"],null,null]')
    send_frame(worker.call_socket, [CALL, 2, "echo", [b"packed"], None, None])
    send_text(worker, '[3,3,"echo",["json"],null,null]')
    assert json.loads(answer_text(worker))[3] == "json"
    assert worker.answer()[3] == b"packed"
    assert json.loads(answer_text(worker))[1] == 3


# ---- Results that JSON cannot carry: the path, and why


@pytest.mark.parametrize(
    ("expression", "path", "words"),
    [
        ("b'x'", [], "bytes"),
        ("[1, b'x']", [1], "type bytes"),
        ("{'x': [0, {'y': {1}}]}", ["x", 1, "y"], "type set"),
        ("{'x': 1j}", ["x"], "complex"),
        ("[object()]", [0], "type object"),
        ("{'x': {1: 2}}", ["x"], "the key 1: "),
        ("{'x': {None: 2}}", ["x"], "the key None: "),
        ("{(1, 2): 2}", [], "the key (1, 2): "),
        ("{'x': {'a\\0b': 2}}", ["x"], "NUL"),
        ("{'x': {'\\ud800': 2}}", ["x"], "surrogate U+D800 at index 0"),
        ("[float('nan')]", [0], "nan and infinity"),
        ("(0, {'i': float('inf')})", [1, "i"], "nan and infinity"),
        ("[-float('inf')]", [0], "nan and infinity"),
        ("{'n': 2**63}", ["n"], "64 bits"),
        ("{'n': [-2**63 - 1]}", ["n", 0], "64 bits"),
        ("{'s': ['ok', 'half \\udfff']}", ["s", 1], "surrogate U+DFFF at index 5"),
        ("[__import__('datetime').date(2024, 1, 1)]", [0], "datetime.date"),
        ("[bytearray(1)]", [0], "bytearray"),
        ("(n for n in [1])", [], "generator"),
    ],
)
def test_a_result_that_json_cannot_carry_names_the_path(worker, expression, path, words):
    told = fault(worker, "evaluate", expression)
    assert (told["kind"], told["type"], told["path"]) == ("result_error", "pitcrew.EncodeError", path)
    assert told["message"].startswith("result") and words in told["message"]
    works(worker)


def test_the_limits_of_integers(worker):
    limits = [2**63 - 1, -(2**63)]
    assert call(worker, "evaluate", "[2**63 - 1, -2**63]") == limits
    assert call(worker, "echo", limits) == limits


def test_depth_of_results(worker):
    def depth(value):
        return 1 + (depth(value[0]) if value else 0)

    assert depth(call(worker, "nested", 512)) == 512
    told = fault(worker, "nested", 513)
    assert told["kind"] == "result_error" and told["path"] == [0] * 512
    told = fault(worker, "holds_itself")
    assert told["kind"] == "result_error" and told["path"][:3] == ["again", 0, "again"]
    works(worker)


def test_depth_of_arguments(worker):
    send_text(worker, '[3,1,"depth_of",[' + "[" * 511 + "]" * 511 + "],null,null]")
    assert json.loads(answer_text(worker))[3] == 511
    send_text(worker, '[3,2,"depth_of",[' + "[" * 512 + "]" * 512 + "],null,null]")
    told = json.loads(answer_text(worker))
    assert told[:2] == [ERROR, 2] and told[3]["kind"] == "decode_error" and "deep" in told[3]["message"]
    send_text(worker, '[3,3,"depth_of",[' + "[" * 1_000_000 + "],null,null]")
    assert json.loads(answer_text(worker))[3]["kind"] == "decode_error"
    works(worker)


def test_limits_that_the_vm_announced(tools):
    worker = Worker(tools.listener, tools.request(1), {**HELLO, "max_depth": 3, "max_frame": 100_000})
    tools.workers.append(worker)
    assert call(worker, "echo", [[1]]) == [[1]]
    assert fault(worker, "echo", [[[1]]])["kind"] == "decode_error"
    assert fault(worker, "nested", 4)["path"] == [0, 0, 0]
    told = fault(worker, "text", 60_000)
    assert told["kind"] == "too_big" and "100" in told["message"]
    assert len(call(worker, "text", 49_000)) == 49_000


def test_the_last_byte_of_the_limit_counts(tools):
    """The bracket that closes the frame is part of it, and nothing is left of a frame that it makes too large."""
    most = 100_000
    worker = Worker(tools.listener, tools.request(1), {**HELLO, "max_frame": most})
    tools.workers.append(worker)
    kinds = []
    for size in range(most // 2 - 20, most // 2 + 2):
        send_text(worker, f'[3,1,"text",[{size}],null,null]')
        answer = answer_text(worker)
        assert len(answer.encode()) <= most
        kind, _, _, value = json.loads(answer)
        assert kind == REPLY or value["kind"] == "too_big"
        kinds.append(kind)
    assert kinds == sorted(kinds) and {REPLY, ERROR} == set(kinds)
    works(worker)


# ---- Errors


def test_errors_are_told_in_json(worker):
    told = fault(worker, "fail", "é broke")
    assert (told["kind"], told["type"], told["message"], told["path"]) == (
        "tool_error", "worker_tools.Oops", "é broke", None,
    )  # fmt: skip
    assert told["traceback"].startswith("Traceback (most recent call last):\n  File ")
    told = fault(worker, "ecko")
    assert told["kind"] == "unknown_tool" and "'echo'" in told["message"]
    assert fault(worker, "add")["kind"] == "bad_arguments"
    assert fault(worker, "add", 1, c=2)["kind"] == "bad_arguments"
    works(worker)


def test_errors_that_are_hard_to_tell(worker):
    told = fault(worker, "fails_with_a_surrogate")
    assert told["message"] == "half \\ud800 of a pair"
    assert fault(worker, "no_repr", "raise")["kind"] == "tool_error"
    assert fault(worker, "no_repr", "value")["path"] == ["x", 0]
    assert fault(worker, "no_repr", "key")["kind"] == "result_error"
    works(worker)


def test_a_coroutine_runs_to_its_end(worker):
    send_text(worker, '[3,12,"later",[],null]')
    assert json.loads(answer_text(worker))[3] == 1
    works(worker)


@pytest.mark.parametrize(
    "rest",
    ["", ",5,[],null", ',"add"', ',"add",[1]', ',"add",5,null', ',"add",{},null', ',"add",[],5', ',"add",[],[]'],
)
def test_calls_of_a_wrong_shape(worker, rest):
    send_text(worker, f"[3,12{rest}]")
    frame = json.loads(answer_text(worker))
    assert frame[:2] == [ERROR, 12] and frame[3]["kind"] == "protocol_error"
    works(worker)


def test_white_space_and_fields_that_are_not_known(worker):
    send_text(worker, '[3,5,\n "add" ,\t[ 1 , 2 ] , null, {"deadline_ms": 5}, "new", {}] \r\n')
    assert json.loads(answer_text(worker))[3] == 3
    send_text(worker, '[3,6,"shape",[],{"a":1,"a":2}]')
    assert json.loads(answer_text(worker))[3][1] == {"a": 2}


@pytest.mark.parametrize(
    "args",
    [
        b"[1", b"[1}", b"[1,]", b"[,1]", b"[01]", b"[1.]", b"[.5]", b"[+1]", b"[--1]", b"[1 2]", b"['a']", b"[nul]",
        b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[1e400]", b"[-1e400]", b'["a\nb"]', b'["\\x"]', b'["\\u12"]',
        b'["\\ud800"]', b'["\\ude00\\ud83d"]', b'["a]', b'[{"a" 1}]', b"[{a:1}]", b"[{1:1}]", b'[{"a":}]',
        b'["\xff"]', b'["\xed\xa0\x80"]', b'["\xc3"]', b"[" + b"9" * 10_000 + b"]", b"[\0]", b"\xef\xbb\xbf[1]",
        b"[1]]", b"[1]," * 3,
    ],
)  # fmt: skip
def test_text_that_is_no_json_is_answered(worker, args):
    send_text(worker, b'[3,9,"echo",' + args + b",null,null]")
    frame = json.loads(answer_text(worker))
    assert frame[:3] == [ERROR, 9, 0] and frame[3]["kind"] in ("decode_error", "protocol_error")
    assert frame[3]["message"]
    works(worker)


def test_every_cut_of_a_call_is_answered_or_ends_the_channel(tools):
    payload = b'[3,9,"echo",[["\xc3\xa9",{"a":[1.5,null]}]],null,null]'
    head = len(b"[3,9,")
    worker = Worker(tools.listener, tools.request(1))
    tools.workers.append(worker)
    for n in range(head, len(payload)):
        send_text(worker, payload[:n])
        frame = json.loads(answer_text(worker))
        assert frame[:2] == [ERROR, 9] and frame[3]["kind"] == "decode_error"
    send_text(worker, payload)
    assert json.loads(answer_text(worker))[3] == ["é", {"a": [1.5, None]}]


@pytest.mark.parametrize(
    "payload",
    [
        "[", "[]", "[3", "[3]", "[3,", "[3,9", "[ 3,9]", "[3 ,9]", "[3, 9]", "[-3,9]", "[03,9]", "[3.0,9]", "[3,-1]",
        '["3",9]',
    ],
)  # fmt: skip
def test_a_head_that_cannot_be_read_ends_the_worker(tools, worker, payload):
    send_text(worker, payload)
    assert worker.answer() == CLOSED
    assert tools.expect("exit", 1)[3:5] == ["exit", 1]


def test_kinds_that_are_not_known_are_refused_in_json(worker):
    send_text(worker, '[99,77,"x"]')
    frame = json.loads(answer_text(worker))
    assert frame[:3] == [ERROR, 77, 0] and frame[3]["kind"] == "unknown_kind"
    send_text(worker, "[5,78,0,{}]")  # never answered, or two ends would go on for ever
    works(worker)


def test_a_frame_that_comes_byte_by_byte(worker):
    for byte in framed('[3,9,"echo",["é"],null,null]'):
        worker.call_socket.send(bytes([byte]))
    assert json.loads(answer_text(worker))[3] == "é"


def test_the_parser_is_imported_by_the_first_call_that_needs_it(worker):
    loaded = "'pitcrew.jsontext' in __import__('sys').modules"
    assert worker.call("evaluate", loaded) is False
    assert call(worker, "evaluate", loaded) is True
