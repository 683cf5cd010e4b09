"""Tools of the VM (docs/protocol.md section 3, Functions) against a real worker: what it sends, and in whose name."""

import pitcrew
import pytest
from harness import send_frame
from pitcrew import _core, packb, unpackb
from pitcrew.vm import Elixir

CALL, REPLY, ERROR = _core.KIND_CALL, _core.KIND_REPLY, _core.KIND_ERROR
TOOLS = "vm_tools"


@pytest.fixture
def worker(either):
    return either


def begin(worker, tool, *args):
    return worker.send(tool, list(args))


def called(worker, id_, name):
    """The frame of the next call of a tool: an id, args and kwargs."""
    frame = worker.answer()
    assert frame[0] == CALL, frame
    assert frame[2][:2] == [id_, name]
    return frame[1], *frame[3]


def give(worker, id_, value):
    send_frame(worker.call_socket, [REPLY, id_, 0, value])


@pytest.mark.parametrize("tool", ["ask", "async_ask"])
def test_a_call_of_a_tool_and_its_answer(worker, tool):
    id_ = begin(worker, tool, "search", 1, "two")
    number, args, kwargs = called(worker, id_, "search")
    assert (args, kwargs) == ([1, "two"], None)
    give(worker, number, {"got": [1]})
    assert worker.answer()[:2] == [REPLY, id_]


def test_a_name_that_was_known_before_any_call(worker):
    for _ in range(2):
        id_ = begin(worker, "searched", "beam")
        number, args, kwargs = called(worker, id_, "search")
        assert (args, kwargs) == ([], {"query": "beam"})
        give(worker, number, 1)
        number, args, kwargs = called(worker, id_, "search")
        assert (args, kwargs) == (["beam"], None)
        give(worker, number, 2)
        assert worker.answer()[3] == [1, 2]


def test_what_was_kept_is_called_in_the_call_that_runs(worker):
    begin(worker, "keep", "search")
    assert worker.answer()[3] == "<pitcrew.Function 'search'>"
    id_ = begin(worker, "call_kept", 1)
    number, args, _ = called(worker, id_, "search")
    give(worker, number, args)
    assert worker.answer()[3] == ["value", [1]]


def test_an_error(worker):
    id_ = begin(worker, "caught", "search")
    number, _, _ = called(worker, id_, "search")
    send_frame(worker.call_socket, [ERROR, number, 0, {"kind": "unknown_tool", "message": "there is no tool search"}])
    assert worker.answer()[3] == ["error", "unknown_tool", None, "there is no tool search", None]


def test_what_there_is_and_where_messages_go(worker):
    id_ = begin(worker, "known")
    number, args, kwargs = called(worker, id_, "pitcrew:tools")
    assert (args, kwargs) == ([], None)
    give(worker, number, [{"name": "search"}])
    assert worker.answer()[3] == [{"name": "search"}]
    id_ = begin(worker, "send", "progress", 1)
    number, args, kwargs = called(worker, id_, "pitcrew:send")
    assert (args, kwargs) == (["progress", 1], None)
    give(worker, number, None)
    assert worker.answer()[3] == 1


def test_names_of_any_text(worker):
    for name in ["web search", "Zoë", "a" * 300, ""]:
        id_ = begin(worker, "ask", name)
        number, _, _ = called(worker, id_, name)
        give(worker, number, 1)
        assert worker.answer()[3] == 1


def test_in_whose_name_of_many_calls(tools):
    """In a thread, in a coroutine, and in a task of its own."""
    worker = tools.worker(concurrency=4)
    ids = {begin(worker, tool, "same", tool): tool for tool in ("ask", "async_ask", "in_a_task")}
    for _, number, (call, name), what in [worker.answer() for _ in ids]:
        assert (name, what) == ("same", [[ids[call]], None])
        give(worker, number, call)
    answers = [worker.answer() for _ in ids]
    assert {(answer[1], answer[3]) for answer in answers} == {(id_, id_) for id_ in ids}


# ---- Where there is no VM


def test_outside_of_a_call_there_is_none():
    with pytest.raises(pitcrew.ElixirError, match="only inside of a call") as raised:
        pitcrew.elixir.search(query="beam")
    assert raised.value.kind == "gone"
    with pytest.raises(pitcrew.ElixirError, match="only inside of a call"):
        pitcrew.elixir["search"]()
    with pytest.raises(pitcrew.ElixirError, match="only inside of a call"):
        pitcrew.elixir.tools()
    with pytest.raises(pitcrew.ElixirError, match="only inside of a call"):
        pitcrew.send("name", 1)
    assert dir(pitcrew.elixir) == ["tools"]


def test_what_is_no_name():
    with pytest.raises(TypeError, match="the name of a tool is a str, not int"):
        _ = pitcrew.elixir[1]
    with pytest.raises(AttributeError, match="begins with an underscore"):
        _ = pitcrew.elixir._search
    with pytest.raises(AttributeError):
        pitcrew.elixir.search = 1
    assert repr(pitcrew.elixir) == "<pitcrew.elixir>"
    assert isinstance(pitcrew.elixir, Elixir)


@pytest.mark.parametrize("to", [None, 1, b"name", ["name"], object()])
def test_what_nothing_can_be_sent_to(to):
    with pytest.raises(TypeError, match="a pid or a name"):
        pitcrew.send(to, 1)


def test_a_tool_is_not_for_the_codec():
    with pytest.raises(pitcrew.EncodeError):
        packb(pitcrew.elixir.search, types="pitcrew")
    assert unpackb(packb(1)) == 1
