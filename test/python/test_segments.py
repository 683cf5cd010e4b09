"""Large payloads in memory that the worker shares with the VM (docs/protocol.md, Segments)."""

import hashlib
import os
import signal
import struct

import pitcrew
import pytest
from harness import CLOSED, HELLO, send_frame, until
from pitcrew import DecodeError, Ext, _core, packb, unpackb
from segments import (
    ARROW,
    BIN,
    FORGET,
    FUTURE_WRITE,
    LEAST,
    MOST,
    NEW,
    SHRINK,
    STR,
    WRITTEN,
    Name,
    Shared,
    Sharer,
    footer_of,
    memory,
    tensor,
)

np = pytest.importorskip("numpy")


def digest(data):
    return hashlib.sha256(data).hexdigest()


def fields_of(value):
    """dtype, shape and data of a tensor."""
    assert value.type == 10
    return unpackb(value.data)


def noise(n):
    return np.random.default_rng(n).bytes(n)


@pytest.fixture
def zygote(start):
    zygote = start("--start", "fork", "--tools", "segment_tools", "--tools", "worker_tools")
    assert zygote.ready()["start"] == "fork"
    return zygote


@pytest.fixture
def sharer(zygote):
    sharer = Sharer(zygote)
    yield sharer
    sharer.vm.close()


# ---- Arguments


def test_bytes_and_text_are_what_they_are_in_a_frame(sharer):
    data, text = noise(100_000), "ä" * 50_000
    assert sharer.call("about", sharer.vm.write(data)) == ["bytes", len(data), digest(data)]
    assert sharer.done()
    assert sharer.call("about", sharer.vm.write(text.encode(), STR)) == ["str", 100_000, digest(text.encode())]
    assert sharer.done()
    assert sharer.call("about_bytes", sharer.vm.write(text.encode(), STR))[:2] == ["bytes", 100_000]
    assert sharer.call("about_bytes", sharer.vm.write(data))[:2] == ["bytes", 100_000]
    assert sharer.done()


def test_a_memoryview_is_the_segment_itself(sharer):
    data = noise(100_000)
    for kind in (BIN, STR):
        got = sharer.call("about_view", sharer.vm.write(data, kind))
        assert got == ["memoryview", len(data), digest(data), True, "B", 1]
        assert sharer.done()
    assert sharer.call("about_view", b"ab")[0] == sharer.call("about_view", "ab")[0] == "memoryview"


def test_a_segment_is_let_go_of_with_the_last_object_that_has_it(sharer):
    data = noise(100_000)
    for tool, argument in [
        ("keep_view", sharer.vm.write(data)),
        ("keep", tensor("|u1", [100_000], sharer.vm.write(data, index=1))),
    ]:
        index = 0 if tool == "keep_view" else 1
        assert sharer.call(tool, argument) is None
        assert sharer.call("look") == digest(data)
        assert not sharer.done(index)
        sharer.call("drop")
        assert sharer.done(index)


def test_arrays_are_made_where_the_data_is(sharer):
    data = noise(80_000)
    got = sharer.call("about_array", tensor("<f8", [100, 100], sharer.vm.write(data)))
    assert got == ["float64", [100, 100], digest(data), True, True]
    assert sharer.done()


def test_what_is_written_into_an_array_is_seen_by_nobody_else(sharer):
    data = noise(100_000)
    for _ in range(2):
        before, after = sharer.call("scribble", tensor("|u1", [100_000], sharer.vm.write(data)))
        assert before == digest(data) and after != before
        assert sharer.done()
        assert sharer.vm.written[0][:100_000] == data
    assert sharer.call("about", sharer.vm.write(data))[2] == digest(data)


def test_arrow_streams(sharer):
    data = noise(100_000)
    assert sharer.call("about_arrow", sharer.vm.write(data, ARROW)) == [
        "Arrow",
        "bytes",
        100_000,
        digest(data),
        True,
        "<pitcrew.Arrow, 100000 bytes>",
    ]
    assert sharer.done()
    sharer.call("keep", sharer.vm.write(data, ARROW))
    assert not sharer.done(), "nobody has asked for a copy"
    assert sharer.vm.read(sharer.call("returns")) == (ARROW, data)
    assert sharer.call("arrow_data") == ["bytes", 100_000, digest(data)]
    assert sharer.done()


# ---- Results


def test_the_smallest_payload_that_goes_into_a_segment(sharer):
    frame = sharer.ask("big", LEAST - 1)
    assert frame.value == b"x" * (LEAST - 1) and len(frame.fields) == 4
    frame = sharer.ask("big", LEAST)
    assert sharer.vm.read(frame.value) == (BIN, b"x" * LEAST)
    assert len(frame.payload) < 100 and frame.fields[4] == 0
    assert frame.footer == [sharer.vm.names(frame.value)[1:]]


@pytest.mark.parametrize(
    ("kind", "character"), [("ascii", "a"), ("latin", "é"), ("wide", "\N{SNAKE}"), ("subclass", "b")]
)
def test_text(sharer, kind, character):
    assert sharer.vm.read(sharer.call("text", kind)) == (STR, (character * 70_000).encode())


@pytest.mark.parametrize(
    "kind", ["bytes", "subclass", "bytearray", "memoryview", "strided", "large", "large bytearray"]
)
def test_bytes_of_all_kinds(sharer, kind):
    data = bytes(range(250)) * 400
    expected = {"strided": (data + data)[::2], "large": data * 40, "large bytearray": data * 40}.get(kind, data)
    assert sharer.vm.read(sharer.call("binary", kind)) == (BIN, expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("contiguous", np.arange(40_000, dtype="<i4").reshape(200, 200)),
        ("transposed", np.arange(40_000, dtype="<i4").reshape(200, 200).T),
        ("strided", np.arange(80_000, dtype="<i4")[::2]),
        ("dates", np.arange(40_000).astype("M8[s]")[::-1]),
        ("large", np.ones((2000, 1000), "f8")),
        ("large and transposed", np.arange(2_000_000, dtype="<f8").reshape(2000, 1000).T),
        ("library", np.arange(40_000, dtype="<i4")),
        ("tensor", np.arange(40_000, dtype="<i4")),
    ],
)
def test_arrays(sharer, kind, value):
    for _ in range(2):
        frame = sharer.ask("array", kind)
        dtype, shape, data = fields_of(frame.value)
        assert (dtype, shape) == (value.dtype.str, list(value.shape))
        assert sharer.vm.read(data) == (BIN, value.tobytes())
        assert frame.footer == [sharer.vm.names(data)[1:]]
        sharer.vm.let_go(data)
    assert len(sharer.vm.seen) == 1


def test_arrow_streams_of_ours(sharer):
    assert sharer.vm.read(sharer.call("arrow", LEAST)) == (ARROW, b"\xff" * LEAST)
    assert sharer.call("arrow", LEAST - 1) == Ext(11, b"\xff" * (LEAST - 1))


def test_payloads_anywhere_in_a_result(sharer):
    frame = sharer.ask("nested", LEAST)
    assert frame.value["small"] == b"4"
    first, pair = frame.value["a"]
    second, third = unpackb(pair.data)
    third = third["b"]
    read = [sharer.vm.read(value) for value in (first, second, third)]
    assert read == [(BIN, b"1" * LEAST), (BIN, b"2" * LEAST), (STR, b"3" * LEAST)]
    assert frame.footer == [sharer.vm.names(value)[1:] for value in (first, second, third)]


def test_keys_and_elements_stay_in_the_frame(sharer):
    frame = sharer.ask("in_keys", LEAST)
    assert len(frame.fields) == 4 and len(frame.payload) > 4 * LEAST and not sharer.vm.packets
    assert list(frame.value)[:2] == ["k" * LEAST, b"y" * LEAST]


def test_references_are_counted_before_the_names(sharer):
    frame = sharer.ask("with_refs", LEAST)
    assert frame.fields[4] == 2 and frame.footer == [sharer.vm.names(frame.value[1])[1:]]
    assert sharer.vm.read(frame.value[1]) == (BIN, b"x" * LEAST)


def test_a_segment_is_used_again_when_the_vm_has_let_go_of_it(sharer):
    first = sharer.call("big", 100_000)
    second = sharer.call("pattern", 100_096)
    assert sharer.vm.read(first)[1] == b"x" * 100_000, "while it is lent it stays"
    assert sharer.vm.names(first)[1] != sharer.vm.names(second)[1]
    sharer.vm.let_go(first)
    third = sharer.call("pattern", 100_096)
    kind, index, generation, _ = sharer.vm.names(first)
    assert sharer.vm.names(third) == (kind, index, generation + 1, 100_096)
    assert sharer.vm.read(third) == sharer.vm.read(second)
    assert len(sharer.vm.seen) in (2, 3), "the third is a spare one, since two were needed at once"


def test_a_spare_one_is_made_when_several_are_kept(sharer):
    def seen():
        sharer.vm.receive()
        return len(sharer.vm.seen)

    kept = [sharer.call("big", LEAST) for _ in range(2)]
    assert until(lambda: seen() == 3), "without another call"
    kept.append(sharer.call("big", LEAST))
    assert [sharer.vm.names(value)[1] for value in kept] == [0, 1, 2]
    assert until(lambda: seen() == 4)
    value, status = sharer.call("answer_in_child", LEAST)
    assert status == 1 and sharer.vm.read(value) == (BIN, b"p" * LEAST), "a child has no such thread, and needs none"


def test_more_payloads_than_segments(sharer):
    frame = sharer.ask("many", 70, LEAST)
    assert len(frame.footer) == 64
    for i, value in enumerate(frame.value):
        expected = bytes([i]) * LEAST
        assert value == expected if i >= 64 else sharer.vm.read(value) == (BIN, expected)


def test_more_bytes_than_may_be_shared(zygote):
    sharer = Sharer(zygote, most=4 * LEAST)
    frame = sharer.ask("many", 6, LEAST)
    assert len(frame.footer) == 4
    assert frame.value[4:] == [bytes([i]) * LEAST for i in (4, 5)]
    assert sharer.ask("big", 5 * LEAST).value == b"x" * 5 * LEAST
    sharer.vm.close()


def test_without_shared_memory_everything_is_in_the_frame(zygote):
    worker = zygote.worker()
    assert worker.call("big", LEAST) == b"x" * LEAST
    assert worker.call("make", LEAST) is None
    answer = worker.call("gives")
    assert answer["given"].tobytes() == b"\1" * LEAST and answer["flags"] == [False, False]


def test_a_result_that_cannot_be_encoded_leaves_nothing_behind(sharer):
    for _ in range(100):
        assert sharer.ask("fails_late", LEAST).fault["path"] == [2]
    value = sharer.call("big", LEAST)
    assert sharer.vm.read(value) == (BIN, b"x" * LEAST) and len(sharer.vm.seen) == 2


def test_what_is_in_segments_counts_for_the_limit(zygote):
    sharer = Sharer(zygote, max_frame=3 * LEAST)
    for tool, arguments in [("big", [3 * LEAST]), ("many", [3, LEAST]), ("many", [30, LEAST])]:
        fault = sharer.ask(tool, *arguments).fault
        assert fault["kind"] == "too_big" and "larger than the limit" in fault["message"]
    assert len(sharer.ask("many", 2, LEAST).footer) == 2
    assert len(sharer.vm.seen) <= 3
    sharer.vm.close()


# ---- Many calls


def test_calls_on_threads_and_on_the_loop(zygote):
    sharer = Sharer(zygote, concurrency=8)
    ids = {}
    for n in range(60):
        tool = ("big_later", "big")[n % 2]
        ids[sharer.send(tool, [LEAST + n])] = (b"l", b"x")[n % 2] * (LEAST + n)
    for _ in range(60):
        frame = sharer.answer()
        assert sharer.vm.read(frame.value) == (BIN, ids.pop(frame.fields[1]))
        sharer.vm.let_go(frame.value)
    data = noise(100_000)
    assert sharer.call("about", sharer.vm.write(data)) == ["bytes", len(data), digest(data)]
    assert until(sharer.done)
    sharer.vm.close()


def test_calls_that_are_held_together(zygote):
    memory = os.memfd_create("started", os.MFD_CLOEXEC)
    os.truncate(memory, 1 << 20)
    sharer = Sharer(zygote, started=memory)
    data = [noise(LEAST + n) for n in range(20)]
    for i, piece in enumerate(data):
        sharer.send("echo", [sharer.vm.write(piece, index=i)])
    for i, piece in enumerate(data):
        value = sharer.answer().value
        assert sharer.vm.read(value) == (BIN, piece) and sharer.done(i)
        sharer.vm.let_go(value)
    os.close(memory)
    sharer.vm.close()


# ---- Names that are wrong


def wrong_names(vm):
    vm.segment(0, 2 * LEAST)
    good = vm.write(b"x" * LEAST)
    _, index, generation, n = vm.names(good)
    return {
        "no segment": Name(BIN, 5, 1, LEAST),
        "no index": Name(BIN, 64, 1, LEAST),
        "too long": Name(BIN, index, generation, 2 * LEAST + 1),
        "far too long": Name(BIN, index, generation, 2**40),
        "no generation": Name(BIN, index, 0, LEAST),
        "no kind": Name(3, index, generation, LEAST),
        "short": Ext(15, good.data[:-1]),
        "long": Ext(15, good.data + b"\0"),
        "empty": Ext(15, b""),
        "in a key": {good: 1},
        "in an element": Ext(4, packb([good])),
        "as text": tensor("|u1", [LEAST], Name(STR, index, generation, n)),
        "short tensor": tensor("|u1", [LEAST + 1], good),
        "tensor in a key": {tensor("|u1", [LEAST], good): 1},
        "no text": Name(STR, *vm.names(vm.write(b"\xff" * LEAST, index=1))[1:]),
    }


def test_a_name_that_is_wrong_is_an_error_of_the_call(sharer):
    for what, value in wrong_names(sharer.vm).items():
        for arguments, path in (([1, value], [1]), ([{"a": [value]}], [0, "a", 0])):
            sharer.send("nothing", arguments, names=[])
            fault = sharer.answer().fault
            assert fault["kind"] == "decode_error" and fault["path"] == path, what
    assert sharer.call("about", sharer.vm.write(b"x" * LEAST))[1] == LEAST


def test_a_segment_that_is_out_cannot_be_named(sharer):
    name = sharer.vm.write(b"x" * LEAST)
    sharer.call("keep_view", name)
    assert sharer.ask("nothing", name).fault["kind"] == "decode_error"
    assert not sharer.done()
    sharer.call("drop")
    assert until(sharer.done)
    assert sharer.ask("nothing", name).fault["kind"] == "decode_error", "nor one that has been let go of"


def test_strangers_have_no_segments():
    name = Name(BIN, 0, 1, LEAST)
    with pytest.raises(DecodeError, match="extension type 15"):
        _core.decode(packb(name))
    assert unpackb(packb(name), types="pitcrew") == name
    assert len(packb(b"x" * LEAST)) == len(_core.encode(b"x" * LEAST)) == LEAST + 5
    assert len(packb(pitcrew.give(pitcrew.empty(LEAST, "u1")), types="pitcrew")) > LEAST


# ---- Frames that are dropped


def test_what_a_call_names_goes_back_if_it_is_not_decoded(sharer):
    data = b"x" * LEAST

    def names(count):
        return [sharer.vm.write(data, index=i) for i in range(count)]

    def refused(kind, tool, args, kwargs=None):
        sharer.send(tool, args, kwargs)
        assert sharer.answer().fault["kind"] == kind
        assert all(until(lambda i=i: sharer.done(i)) for i in sharer.vm.generations)

    a, b, c = names(3)
    refused("unknown_tool", "nobody", [a, {"b": [b]}, tensor("|u1", [LEAST], c)])
    a, b, c = names(3)
    refused("decode_error", "nothing", [a, Ext(99, b""), b, tensor("|u1", [LEAST], c)])
    a, b, c = names(3)
    refused("decode_error", "nothing", [a, tensor("|u1", [1], b), c])
    a, b, c = names(3)
    refused("bad_arguments", "nothing", [a, b], {1: c})
    a, b, c = names(3)
    refused("bad_arguments", "about", [a, b, c])


def test_what_the_calls_of_a_batch_name_goes_back(sharer):
    """Those that are refused too, and what stands behind the place where they were found wrong."""
    a, b, c, d = (sharer.vm.write(bytes(LEAST), index=i) for i in range(4))
    calls = [[[a], None], [[b, {"x": Ext(99, b"")}, c], None], [[], {"nobody": d}]]
    sharer.send("pitcrew:batch", ["about", calls])
    outcomes = sharer.answer().value
    assert [state if state == "ok" else what["kind"] for state, what in outcomes] == [
        "ok",
        "decode_error",
        "bad_arguments",
    ]
    assert all(until(lambda i=i: sharer.vm.done(i)) for i in range(4))


def test_what_a_cancelled_call_names_goes_back(sharer):
    sharer.worker.last_id = 10
    assert sharer.worker.cancel(11) == "unstarted"
    sharer.send("keep", [sharer.vm.write(b"x" * LEAST)])
    assert sharer.call("add", 1) == 2
    assert until(sharer.done)


def test_maps_whose_keys_are_equal_are_read_twice(sharer):
    data = [noise(LEAST + i) for i in range(3)]
    pairs = [packb(1), sharer.vm.write(data[0]), packb(1.0), sharer.vm.write(data[1], index=1)]
    map_ = b"\x82" + b"".join(item if type(item) is bytes else packb(item) for item in pairs)
    for meta in (b"\xc0", packb({"keys": "strict"})):
        sharer.worker.last_id += 1
        head = b"\x99" + packb(_core.KIND_CALL) + packb(sharer.worker.last_id) + packb("about_map")
        footer = footer_of(pairs[1::2])
        frame = head + b"\x91" + map_ + b"\xc0" + meta + b"\xc0" + footer
        sharer.worker.call_socket.sendall(struct.pack(">I", len(frame)) + frame)
        answer = sharer.answer()
        if meta == b"\xc0":
            assert answer.fault["kind"] == "decode_error" and "equal in Python" in answer.fault["message"]
        else:
            about = [["bytes", len(piece), digest(piece)] for piece in data[:2]]
            assert answer.value == ["Map", about]
        assert until(lambda: sharer.done(0) and sharer.done(1))
        pairs[1::2] = [sharer.vm.write(data[0]), sharer.vm.write(data[1], index=1)]
        map_ = b"\x82" + b"".join(item if type(item) is bytes else packb(item) for item in pairs)


# ---- Forks


def test_a_child_reads_what_is_out_and_lets_go_of_nothing(sharer):
    data = noise(100_000)
    for tool, value in [
        ("keep_view", sharer.vm.write(data)),
        ("keep", tensor("|u1", [100_000], sharer.vm.write(data, index=1))),
    ]:
        assert sharer.call(tool, value) is None
        assert sharer.call("read_in_child") == [repr(digest(data)), 0]
    sharer.call("drop")
    assert not sharer.done(0) and not sharer.done(1), "children may still read it"
    data = noise(LEAST)
    sharer.call("keep", tensor("|u1", [LEAST], sharer.vm.write(data, index=2)))
    sharer.call("drop")
    assert until(lambda: sharer.done(2)), "what came after the fork"


def test_bytes_are_let_go_of_whatever_forks(sharer):
    sharer.call("keep", sharer.vm.write(noise(LEAST)))
    assert sharer.call("read_in_child")[1] == 0
    assert until(sharer.done)


def test_a_child_sends_nothing(sharer):
    value, status = sharer.call("answer_in_child", LEAST)
    assert status == 1 and sharer.vm.read(value) == (BIN, b"p" * LEAST)
    first, (status, second) = sharer.call("fork_while_encoding", LEAST)
    assert status == 1
    assert sharer.vm.read(first) == (BIN, b"a" * LEAST) and sharer.vm.read(second) == (BIN, b"z" * LEAST)
    assert len(sharer.vm.seen) in (3, 4), "these, and perhaps a spare one"
    assert sharer.call("add", 1) == 2


def test_a_child_has_no_memory_of_the_workers_own(sharer):
    sharer.call("make", LEAST)
    assert sharer.call("made_in_child") == ["", -signal.SIGSEGV]
    assert sharer.call("add", 1) == 2


# ---- pitcrew.empty and pitcrew.give


def given(sharer, *arguments):
    """The frame, and dtype, shape and the name of what was given."""
    frame = sharer.ask("gives", *arguments)
    assert frame.value["flags"][0] is False
    return frame, *fields_of(frame.value["given"])


def test_what_is_given_is_not_copied(sharer):
    sharer.call("make", 100_000, "<i2")
    frame, dtype, shape, data = given(sharer)
    assert (dtype, shape) == ("<i2", [100_000]) and frame.value["flags"] == [False, False]
    assert sharer.vm.read(data) == (BIN, np.ones(100_000, "<i2").tobytes())
    assert frame.footer == [sharer.vm.names(data)[1:]] and len(sharer.vm.packets) == 1
    assert "has been given already" in sharer.ask("gives").fault["message"]


def test_the_beginning_of_an_array_can_be_given(sharer):
    sharer.call("make", 100_000)
    _, dtype, shape, data = given(sharer, 70_000)
    assert (dtype, shape) == ("|u1", [70_000]) and sharer.vm.read(data) == (BIN, b"\1" * 70_000)
    sharer.call("make", 100_000)
    assert given(sharer, 10)[3] == b"\1" * 10


def test_memory_that_was_given_is_used_again_when_both_have_let_go(sharer):
    sharer.call("make", 100_000)
    data = given(sharer)[3]
    _, index, *_ = sharer.vm.names(data)
    sharer.vm.let_go(data)
    other = sharer.call("big", 100_000)
    assert sharer.vm.names(other)[1] != index, "there is an array here that has it"
    assert sharer.vm.read(data) == (BIN, b"\1" * 100_000)
    sharer.call("drop")
    assert sharer.vm.names(sharer.call("big", 100_000))[1] == index


def test_memory_that_is_not_given_is_free_with_its_array(sharer):
    for _ in range(100):
        sharer.call("make", 100_000)
        sharer.call("drop")
    assert sharer.vm.names(sharer.call("big", 100_000))[2] == 101
    assert len(sharer.vm.seen) == 0 and len(sharer.vm.packets) == 0
    sharer.vm.receive()
    assert len(sharer.vm.seen) == 1


def test_what_is_returned_without_being_given_is_copied(sharer):
    sharer.call("make", 100_000)
    data = fields_of(sharer.call("returns"))[2]
    assert sharer.vm.read(data) == (BIN, b"\1" * 100_000)
    assert sharer.call("fill", 2) is None
    assert sharer.vm.read(data) == (BIN, b"\1" * 100_000)
    assert fields_of(given(sharer)[0].value["given"])[2] != data


def test_a_result_that_fails_gives_nothing_away(sharer):
    sharer.call("make", 100_000)
    assert sharer.ask("gives_and_fails").fault["path"] == [1]
    assert "has been given already" in sharer.ask("gives").fault["message"]
    sharer.call("make", 100_000)
    fault = sharer.ask("gives_twice_at_once").fault
    assert fault["kind"] == "result_error" and fault["path"] == [1] and "can be sent once" in fault["message"]
    sharer.call("drop")
    assert sharer.vm.names(sharer.call("big", 100_000))[1] < 2


def test_what_was_sent_is_not_sent_again(sharer):
    sharer.call("make", 100_000)
    sharer.vm.read(fields_of(sharer.call("keeps_given"))[2])
    fault = sharer.ask("returns").fault
    assert fault["kind"] == "result_error" and "can be sent once" in fault["message"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("other", "one that pitcrew.empty made"),
        ("bytes", "one that pitcrew.empty made"),
        ("transposed", "contiguous"),
        ("rest", "does not begin where"),
        ("strided", "contiguous"),
    ],
)
def test_arrays_that_cannot_be_given(sharer, kind, words):
    fault = sharer.ask("give_what", kind).fault
    assert fault["type"] == "ValueError" and words in fault["message"]


@pytest.mark.parametrize(
    ("arguments", "dtype", "shape"),
    [
        ([10], "float64", [10]),
        ([[]], "float64", []),
        ([[3, 0]], "float64", [3, 0]),
        ([[2, 3], "i4"], "int32", [2, 3]),
        ([[300, 300], ">f8"], ">f8", [300, 300]),
        ([100_000, "M8[s]"], "datetime64[s]", [100_000]),
    ],
)
def test_empty_arrays(sharer, arguments, dtype, shape):
    assert sharer.call("empty", *arguments) == [dtype, shape, True, True]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ([10, "O"], "ValueError"),
        ([10, "i4,i4"], "ValueError"),
        ([-1], "ValueError"),
        ([[-1, -1]], "ValueError"),
        (["x"], "TypeError"),
        ([2**62], "OverflowError"),
        ([2**50], "MemoryError"),
    ],
)
def test_arrays_that_cannot_be_made(sharer, arguments, kind):
    assert sharer.ask("empty", *arguments).fault["type"] == kind


def test_writing_where_it_was_given_is_an_error(zygote, sharer):
    sharer.call("make", 100_000)
    data = given(sharer)[3]
    assert sharer.ask("write_through_numpy").fault["type"] == "ValueError"
    assert sharer.vm.read(data) == (BIN, b"\1" * 100_000)
    sharer.send("write_through_ctypes", [])
    assert zygote.expect("exit", 1)[3:5] == ["signal", signal.SIGSEGV]
    assert sharer.vm.read(data) == (BIN, b"\1" * 100_000)


# ---- The beginning, and a VM that breaks the rules


def fails_to_start(zygote, hello, fds, words):
    worker = zygote.worker(fds=fds, **hello)
    assert worker.first == CLOSED
    assert zygote.expect("exit", 1)[3:5] == ["exit", 1]
    assert words in zygote.read_out(1, 2)


def test_descriptors_that_do_not_come(zygote):
    fails_to_start(zygote, {"buffers": {"max": MOST}}, [], "not all descriptors")


def test_a_socket_that_is_closed(zygote):
    vm = Shared(boards=False)
    vm.socket.close()
    fails_to_start(zygote, {"buffers": {"max": MOST}}, [vm.theirs.fileno()], "Connection reset")
    vm.close()


def test_something_else_than_the_boards(zygote):
    vm = Shared(boards=False)
    vm.segment(0, LEAST)
    fails_to_start(zygote, {"buffers": {"max": MOST}}, [vm.theirs.fileno()], "Protocol error")
    vm.close()


def test_boards_that_come_late(zygote):
    vm = Shared(boards=False)
    token = zygote.request(1)
    zygote.expect("forked", 1)
    connection, _ = zygote.listener.accept()
    send_frame(connection, [_core.KIND_HELLO, 0, {**HELLO, "buffers": {"max": MOST}}], [vm.theirs.fileno()])
    vm.send_boards()
    side, side_auth = zygote.listener.accept()
    assert side_auth[2:4] == [token, "side"]
    connection.close()
    side.close()
    vm.close()


def test_segments_that_break_the_rules_are_not_there(sharer):
    def offer(size, seals, told=None, index=0):
        fd, mapped = memory(size, seals)
        sharer.vm.send(NEW, index, told or size, [fd])
        os.close(fd)
        mapped.close()

    for seals in (0, WRITTEN & ~SHRINK, WRITTEN & ~FUTURE_WRITE):
        offer(LEAST, seals)
        assert sharer.ask("nothing", Name(BIN, 0, 1, LEAST)).fault["kind"] == "decode_error"
    offer(LEAST, WRITTEN, told=2 * LEAST)
    assert sharer.ask("nothing", Name(BIN, 0, 1, LEAST)).fault["kind"] == "decode_error"
    offer(LEAST, WRITTEN, index=64)
    read, write = os.pipe()
    sharer.vm.send(NEW, 0, LEAST, [read])
    sharer.vm.socket.send(b"")
    sharer.vm.socket.send(b"rubbish")
    sharer.vm.send(17, 0, LEAST, [read, write, read, write])
    os.close(read)
    os.close(write)
    assert sharer.ask("nothing", Name(BIN, 0, 1, LEAST)).fault["kind"] == "decode_error"
    data = noise(LEAST)
    assert sharer.call("about", sharer.vm.write(data, index=3)) == ["bytes", LEAST, digest(data)]


def test_a_vm_that_hears_no_more_gets_everything_in_frames(sharer):
    sharer.vm.socket.close()
    assert sharer.call("big", LEAST) == b"x" * LEAST
    assert sharer.call("make", LEAST) is None
    assert fields_of(sharer.call("gives")["given"])[2] == b"\1" * LEAST


def test_boards_that_lie_free_nothing(sharer):
    value = sharer.call("big", LEAST)
    for said in (0, 2, 2**32 - 1):
        struct.pack_into("=I", sharer.vm.board, 0, said)
        assert sharer.vm.names(sharer.call("big", LEAST))[1] != 0
    assert sharer.vm.read(value) == (BIN, b"x" * LEAST)


def test_what_is_forgotten_is_unmapped_with_a_ping(sharer):
    before = sharer.call("mapped")
    assert sharer.call("about", sharer.vm.write(b"x" * LEAST))[1] == LEAST
    assert sharer.call("mapped") == before + 1
    sharer.vm.send(FORGET, 0, 0)
    sharer.worker.ping(1)
    sharer.worker.ping(2)  # the first is answered before
    assert sharer.call("mapped") == before


def test_nothing_stays_open(zygote, sharer):
    """One socket more than without; none of the descriptors of boards and segments."""
    other = zygote.worker(2)

    def links(answer):
        return sorted(link.split(":")[0] for link in answer.values() if not link.startswith("/proc/"))

    sharer.vm.write(b"x" * LEAST)
    sharer.call("big", LEAST)
    with_memory = links(sharer.call("links"))
    assert with_memory == sorted([*links(other.call("links")), "socket"])


def test_the_socket_is_not_in_a_child(sharer):
    assert sharer.call("fork_and_look", 0).startswith("([], ")


def test_the_end_while_something_is_out(zygote, sharer):
    sharer.call("keep_view", sharer.vm.write(noise(LEAST)))
    sharer.call("make", LEAST)
    sharer.call("big", LEAST)
    sharer.worker.close()
    assert zygote.expect("exit", 1)[3:5] == ["exit", 0]
    assert not sharer.done()
