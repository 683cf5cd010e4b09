"""Sessions and references as the VM sees them on the call channel: docs/protocol.md, References and Sessions."""

import struct

import pitcrew
import pytest
from harness import CLOSED, Failed, recv_exactly
from pitcrew import _core

EXT_REF = 14


@pytest.fixture
def worker(start):
    zygote = start("--start", "fork", "--tools", "session_tools")
    assert zygote.ready()["start"] == "fork"
    worker = zygote.worker()
    assert worker.first[0] == _core.KIND_READY
    return worker


def send(worker, kind, *fields):
    """A frame as bytes that a VM would send, references included."""
    payload = pitcrew.packb([kind, *fields])
    worker.call_socket.sendall(struct.pack(">I", len(payload)) + payload)


def receive(worker):
    """The frame, with references as pitcrew.Ext, and its bytes."""
    payload = recv_exactly(worker.call_socket, struct.unpack(">I", recv_exactly(worker.call_socket, 4))[0])
    return pitcrew.unpackb(payload, strict_map_key=False), payload


def call(worker, tool, args=(), kwargs=None, meta=None):
    worker.last_id += 1
    send(worker, _core.KIND_CALL, worker.last_id, tool, list(args), kwargs, meta)
    frame, _ = receive(worker)
    assert frame[1] == worker.last_id
    if frame[0] == _core.KIND_ERROR:
        raise Failed(frame[3])
    return frame[3]


def forget(worker, refs=(), sessions=()):
    send(worker, _core.KIND_FORGET, 0, list(refs), list(sessions))


def ref(call_id, index):
    return pitcrew.Ext(EXT_REF, pitcrew.packb([call_id, index]))


def in_session(id_):
    return {"session": id_}


def kept(worker):
    return call(worker, "kept")


# ---- Sessions


def test_each_session_has_a_state_of_its_own(worker):
    for id_ in (1, 2, 2**40):
        call(worker, "remember", ["a", id_], meta=in_session(id_))
    for id_ in (1, 2, 2**40):
        assert call(worker, "recall", ["a"], meta=in_session(id_)) == id_
        assert call(worker, "session_id", meta=in_session(id_)) == id_
    assert kept(worker) == [3, 0]
    forget(worker, sessions=[2, 77])
    assert call(worker, "recall", ["a"], meta=in_session(1)) == 1
    assert kept(worker) == [2, 0]
    forget(worker, sessions=[1, 2**40])
    assert kept(worker) == [0, 0]


def test_a_call_without_one_has_none(worker):
    call(worker, "remember", ["a", 1], meta=in_session(1))
    for meta in (None, {}, {"keys": "strict"}, {"session": "1"}, {"session": None}):
        with pytest.raises(Failed) as error:
            call(worker, "recall", ["a"], meta=meta)
        assert error.value.fault["type"] == "RuntimeError"
        assert "there is no session here" in error.value.fault["message"]


def test_a_tool_that_raises_leaves_the_session(worker):
    with pytest.raises(Failed):
        call(worker, "fail", ["x"], meta=in_session(1))
    with pytest.raises(Failed) as error:
        call(worker, "session_id")
    assert error.value.fault["type"] == "RuntimeError"


def test_meta_that_is_none(worker):
    for meta in (17, "session", [1]):
        with pytest.raises(Failed) as error:
            call(worker, "add", [1, 2], meta=meta)
        assert error.value.fault["kind"] == "protocol_error"
    assert call(worker, "add", [1, 2], meta={"unknown": {"nested": [1]}, "session": 1}) == 3


# ---- References


def test_a_reference_in_a_reply(worker):
    worker.last_id += 1
    send(worker, _core.KIND_CALL, worker.last_id, "counter", [5], None, None)
    frame, payload = receive(worker)
    assert frame[:2] == [_core.KIND_REPLY, 1] and len(frame) == 5
    assert frame[3].type == EXT_REF
    assert pitcrew.unpackb(frame[3].data) == [1, 0, "session_tools.Counter"]
    # How many there are, always in five bytes at the end.
    assert payload[0] == 0x95 and payload[-5:] == b"\xce\0\0\0\1"
    # A reply without one has no such field.
    send(worker, _core.KIND_CALL, 2, "add", [1, 2], None, None)
    worker.last_id = 2
    frame, payload = receive(worker)
    assert len(frame) == 4 and payload[0] == 0x94


def test_references_go_back_as_the_objects(worker):
    first = call(worker, "counter", [5])
    assert pitcrew.unpackb(first.data)[:2] == [1, 0]
    assert call(worker, "total", [ref(1, 0), ref(1, 0)], {"more": ref(1, 0)}) == 15
    assert call(worker, "is_same", [[[ref(1, 0), ref(1, 0)]]]) == [True]
    assert call(worker, "pitcrew:method", [ref(1, 0), "add"], {"k": 2}) == 7
    assert call(worker, "pitcrew:attribute", [ref(1, 0), "n"]) == 7
    many = call(worker, "counters", [3])
    id_ = worker.last_id
    assert [pitcrew.unpackb(each["counter"].data)[:2] for each in many] == [[id_, i] for i in range(3)]
    assert call(worker, "total", [ref(id_, i) for i in range(3)]) == 3


def test_any_result_may_stay(worker):
    call(worker, "add", [[1], [2]], meta={"ref": True})
    assert call(worker, "pitcrew:value", [ref(1, 0)]) == [1, 2]
    call(worker, "counter", [1], meta={"ref": True})
    assert call(worker, "total", [ref(3, 0)]) == 1
    assert kept(worker) == [0, 2]


def test_what_is_forgotten_is_gone(worker):
    call(worker, "counters", [4])
    call(worker, "counter", [1])
    assert kept(worker) == [0, 5]
    forget(worker, refs=[1, 0, 1, 2])
    assert kept(worker) == [0, 3]
    with pytest.raises(Failed) as error:
        call(worker, "total", [ref(1, 3), ref(1, 2)])
    assert error.value.fault["kind"] == "decode_error" and error.value.fault["path"] == [1]
    assert "does not have" in error.value.fault["message"]
    forget(worker, refs=[1, -1, 2, 0, 99, -1, 2, 0])
    assert kept(worker) == [0, 0]


def test_forgetting_comes_behind_the_calls_before_it(worker):
    call(worker, "counter", [3])
    for _ in range(20):
        worker.last_id += 1
        send(worker, _core.KIND_CALL, worker.last_id, "total", [ref(1, 0)], None, None)
    forget(worker, refs=[1, 0])
    assert [receive(worker)[0][3] for _ in range(20)] == [3] * 20
    assert kept(worker) == [0, 0]


def test_a_frame_that_is_wrong_forgets_what_it_can(worker):
    call(worker, "counters", [2])
    forget(worker, refs=[1, 0, "x", 1])
    send(worker, _core.KIND_FORGET, 0, 17)
    send(worker, _core.KIND_FORGET, 0)
    assert kept(worker) == [0, 1]


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x91\x01", b"\x92\xff\x00", b"\x92\x01\xa1x", b"\x92\x01\xff"])
def test_a_reference_that_is_not_well_formed(worker, data):
    call(worker, "counter", [1])
    with pytest.raises(Failed) as error:
        call(worker, "total", [pitcrew.Ext(EXT_REF, data)])
    assert error.value.fault["kind"] == "decode_error"
    assert call(worker, "total", [ref(1, 0)]) == 1


def test_an_answer_that_is_no_answer_keeps_nothing(worker):
    with pytest.raises(Failed) as error:
        call(worker, "mixed_with_unsendable")
    assert error.value.fault["kind"] == "result_error"
    assert kept(worker) == [0, 0]


def test_in_json_there_are_none(worker):
    payload = b'[3,1,"counter",[1],null,null]'
    worker.call_socket.sendall(struct.pack(">I", len(payload)) + payload)
    answer = recv_exactly(worker.call_socket, struct.unpack(">I", recv_exactly(worker.call_socket, 4))[0])
    assert answer != CLOSED and b"has no place in JSON" in answer
    worker.last_id = 1
    assert kept(worker) == [0, 0]


def test_outside_of_a_tool_s_result():
    with pytest.raises(pitcrew.EncodeError, match="can only be returned by a tool"):
        _core.encode([pitcrew.ref(1)])
    with pytest.raises(pitcrew.DecodeError, match="type 14"):
        _core.decode(pitcrew.packb(ref(1, 0)))
    assert pitcrew.ref([1]).value == [1]
    assert repr(pitcrew.ref([1])) == "pitcrew.ref([1])"


def test_names_that_are_pitcrew_s_own():
    with pytest.raises(ValueError, match="Pitcrew's own"):
        pitcrew.tool(name="pitcrew:method")(len)


def test_a_session_that_nobody_has():
    assert dir(pitcrew.session) == ["id", "state"]
    for name in ("state", "id"):
        with pytest.raises(RuntimeError, match="there is no session here"):
            getattr(pitcrew.session, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pitcrew.session.nothing  # noqa: B018
