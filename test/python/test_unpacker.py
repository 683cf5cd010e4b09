"""Messages out of a stream, however it is cut."""

import gc
import random
import weakref

import pitcrew
import pytest
from pitcrew import DecodeError, Ext, Unpacker, packb

MESSAGES = [1, "text", [1, {"a": [2.5, None]}], b"x" * 300, {}, [], {"k": "v" * 70_000}, Ext(5, b"y" * 40), -1]
STREAM = b"".join(map(packb, MESSAGES))


def test_all_at_once():
    unpacker = Unpacker()
    unpacker.feed(STREAM)
    assert list(unpacker) == MESSAGES and list(unpacker) == []
    assert unpacker.tell() == len(STREAM) and unpacker.buffered == 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 4096, 65_536])
def test_in_pieces(size):
    unpacker, found = Unpacker(), []
    for start in range(0, len(STREAM), size):
        unpacker.feed(STREAM[start : start + size])
        found += unpacker
    assert found == MESSAGES and unpacker.buffered == 0


def test_cut_anywhere():
    short = b"".join(map(packb, [1, "text", [1, {"a": [2.5, None]}], Ext(5, b"yy"), b"123", {"a": {"b": []}}]))
    for cut in range(len(short) + 1):
        unpacker = Unpacker()
        unpacker.feed(short[:cut])
        found = list(unpacker)
        assert unpacker.tell() + unpacker.buffered == cut
        unpacker.feed(short[cut:])
        found += unpacker
        assert found == [1, "text", [1, {"a": [2.5, None]}], Ext(5, b"yy"), b"123", {"a": {"b": []}}]


def test_a_message_is_not_there_before_its_last_byte():
    data = packb([1, [2, {"a": "xyz"}]])
    unpacker = Unpacker()
    for byte in data[:-1]:
        unpacker.feed(bytes([byte]))
        assert list(unpacker) == []
    unpacker.feed(data[-1:])
    assert next(unpacker) == [1, [2, {"a": "xyz"}]]
    with pytest.raises(StopIteration):
        next(unpacker)


def test_a_large_message_in_small_pieces_takes_linear_time():
    data = packb([list(range(1000))] * 100)
    unpacker = Unpacker()
    for start in range(0, len(data), 16):  # quadratic work would be 10**9 tokens
        unpacker.feed(data[start : start + 16])
        found = list(unpacker)
    assert found == [[list(range(1000))] * 100]


def test_a_message_that_cannot_be_made_is_over_and_the_next_one_follows():
    unpacker = Unpacker(max_depth=2)
    unpacker.feed(b"\xa1\xff" + b"\x91\x91\x91\x01" + b"\x81\x01\x02" + packb("fine"))
    for word in ("not UTF-8", "too deeply", "neither str nor bytes"):
        with pytest.raises(DecodeError, match=word) as caught:
            next(unpacker)
        assert str(caught.value).startswith("message")
    assert next(unpacker) == "fine"


def test_bytes_that_are_no_messagepack_end_it():
    unpacker = Unpacker()
    unpacker.feed(b"\x01\xc1\x02")
    assert next(unpacker) == 1
    for _ in range(2):
        with pytest.raises(DecodeError, match="no longer be told apart"):
            next(unpacker)


def test_what_may_wait_is_bounded():
    unpacker = Unpacker(max_size=100)
    unpacker.feed(b"\xdd\xff\xff\xff\xff")  # promises four thousand million elements
    unpacker.feed(bytes(95))
    assert list(unpacker) == [] and unpacker.buffered == 100
    with pytest.raises(DecodeError, match="more than 100 bytes"):
        unpacker.feed(b"x")
    unpacker = Unpacker(max_size=100)
    for _ in range(50):
        unpacker.feed(b"\x01" * 100)
        assert list(unpacker) == [1] * 100
    assert unpacker.tell() == 5000


def test_options_reach_the_messages():
    unpacker = Unpacker(raw=True, use_list=False, ext_hook=lambda code, data: (code, data))
    unpacker.feed(packb(["a", Ext(7, b"z")]))
    assert list(unpacker) == [(b"a", (7, b"z"))]
    unpacker = Unpacker(types="pitcrew")
    unpacker.feed(packb((1, {2}), types="pitcrew"))
    assert list(unpacker) == [(1, {2})]


def test_a_hook_that_meddles():
    def hook(code, data):
        for meddle in (lambda: unpacker.feed(b"\x01"), lambda: next(unpacker)):
            with pytest.raises(RuntimeError, match="at work"):
                meddle()
        return code

    unpacker = Unpacker(ext_hook=hook)
    unpacker.feed(packb([Ext(5, b"")]))
    assert list(unpacker) == [[5]]


def test_a_hook_that_holds_its_unpacker_is_collected():
    class Holder:
        def hook(self, code, data):
            return self.unpacker

    holder = Holder()
    holder.unpacker = Unpacker(ext_hook=holder.hook)
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None


def test_what_it_wants():
    with pytest.raises(TypeError, match="by name"):
        Unpacker(b"")
    with pytest.raises(TypeError):
        Unpacker().feed("text")
    assert iter(unpacker := Unpacker()) is unpacker and type(unpacker) is pitcrew.Unpacker


def test_random_pieces_of_random_messages():
    source = random.Random(7)
    for _ in range(50):
        messages = [source.choice(MESSAGES) for _ in range(source.randrange(20))]
        stream, unpacker, found = b"".join(map(packb, messages)), Unpacker(), []
        while stream:
            cut = source.randrange(1, 5000)
            unpacker.feed(stream[:cut])
            stream = stream[cut:]
            found += unpacker
        assert found == messages
