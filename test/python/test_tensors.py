"""Arrays of numbers and Arrow tables: what has a buffer, both ways."""

import array
import copy
import mmap
import pickle

import pitcrew
import pytest
from harness import run_python
from pitcrew import Arrow, DecodeError, EncodeError, Tensor, _core

np = pytest.importorskip("numpy")


def tensor(dtype, shape, data):
    return _core.packb(pitcrew.Ext(10, _core.packb([dtype, shape, data])))


def fields(sent):
    found = pitcrew.unpackb(sent)
    assert found.type == 10
    return pitcrew.unpackb(found.data)


NUMBERS = [*"bBhHiIlLqQ", "f2", "f4", "f8", "g", "F", "D", "G", "?", ">i2", ">f8", ">c16", "<u4"]
MOMENTS = ["M8[ns]", "M8[D]", "M8[25s]", "m8[us]", "m8", ">M8[s]"]
TEXTS = ["S1", "S7", "U1", "U5", ">U3"]


@pytest.mark.parametrize("dtype", [*NUMBERS, *MOMENTS, *TEXTS])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (2, 0, 3), (1, 2, 1, 2)])
def test_arrays_come_back_equal(dtype, shape):
    count = int(np.prod(shape))
    source = np.frombuffer(bytes(i % 2 for i in range(count * np.dtype(dtype).itemsize)), np.uint8)
    value = source.view("u1").copy().view(dtype).reshape(shape) if count else np.empty(shape, dtype)
    back = _core.decode(_core.encode([value]))[0]
    assert type(back) is np.ndarray and back.dtype == value.dtype and back.shape == shape
    assert back.tobytes() == value.tobytes() and back.flags.writeable and back.flags.c_contiguous
    assert fields(_core.encode(value))[:2] == [value.dtype.str, list(shape)]


@pytest.mark.parametrize("dtype", [*NUMBERS, *MOMENTS, *TEXTS])
@pytest.mark.parametrize("size", [32_767, 65_535, 65_536, 65_537, 1_048_577])
def test_large_arrays_of_every_layout_come_back_equal(dtype, size):
    kind, width = np.dtype(dtype).kind, np.dtype(dtype).itemsize
    count = -(-size // width)
    if kind in "SU":
        plain = np.resize(np.array(["a", "zz", ""]), count).astype(dtype)
    else:  # bytes that are a boolean as well
        plain = np.random.default_rng(size).integers(0, 2, count * width, "u1").view(dtype)
    square = plain[: len(plain) // 2 * 2].reshape(2, -1)
    fixed = plain.copy()
    fixed.flags.writeable = False
    for value in (plain, fixed, plain[1:], plain[::-1], square.T, square[:, ::3], np.asfortranarray(square)):
        back = _core.decode(_core.encode([value]))[0]
        assert back.dtype == value.dtype and back.shape == value.shape and back.flags.writeable
        assert back.tobytes() == value.tobytes() and back.flags.c_contiguous


def test_arrays_that_lie_otherwise_are_copied_to_c_order():
    base = np.arange(24.0).reshape(2, 3, 4)
    for value in (base.T, base[:, ::2], base[::-1], np.asfortranarray(base), np.broadcast_to(base[0], (5, 3, 4))):
        back = _core.decode(_core.encode(value))
        assert np.array_equal(back, value) and back.shape == value.shape
    assert _core.decode(_core.encode(np.arange(3, dtype=">i4"))).dtype == np.dtype(">i4")


def test_an_array_of_one_element_is_no_number():
    for value in (np.array(5), np.array([5]), np.array([[True]])):
        back = _core.decode(_core.encode(value))
        assert type(back) is np.ndarray and back.shape == value.shape


@pytest.mark.parametrize("code", "bBhHiIlLqQfdu")
def test_arrays_of_the_standard_library(code):
    value = array.array(code, "añ" if code == "u" else [1, 2, 3])
    back = _core.decode(_core.encode(value))
    assert back.tolist() == list(value) and back.dtype.itemsize == value.itemsize


@pytest.mark.parametrize(
    ("view", "dtype", "shape"),
    [
        (memoryview(bytes(8)).cast("d"), "<f8", [1]),
        (memoryview(bytes(6)).cast("B", (2, 3)), "|u1", [2, 3]),
        (memoryview(bytes(6)).cast("b"), "|i1", [6]),
        (memoryview(bytes(6)).cast("?"), "|b1", [6]),
        (memoryview(bytes(8)).cast("d", ()), "<f8", []),
        (memoryview(array.array("i", range(6)))[::2], "<i4", [3]),
        (memoryview(np.zeros((2, 2), ">c8")), ">c8", [2, 2]),
        (memoryview(np.zeros(2, "S3")), "|S3", [2]),
        (memoryview(np.zeros(2, "f2")), "<f2", [2]),
    ],
)
def test_memoryviews(view, dtype, shape):
    found = fields(_core.encode(view))
    assert found[:2] == [dtype, shape] and found[2] == view.tobytes()


def test_anything_else_with_a_buffer():
    with mmap.mmap(-1, 4096) as memory:
        assert fields(_core.encode(memory)) == ["|u1", [4096], bytes(4096)]
    import ctypes

    assert fields(_core.encode((ctypes.c_int32 * 2)(1, 2))) == ["<i4", [2], b"\1\0\0\0\2\0\0\0"]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (np.array([object()]), "dtype object"),
        (np.zeros(1, [("a", "i4")]), "no form"),
        (np.zeros(1, "V4"), "no form"),
        (np.ma.array([1, 2], mask=[0, 1]), "masked"),
        (memoryview(np.zeros(1, [("a", "i4"), ("b", "f8")])), "format"),
    ],
)
def test_arrays_that_have_no_form(value, word):
    with pytest.raises(EncodeError, match=word) as caught:
        _core.encode({"a": [value]})
    assert caught.value.path == ("a", 0)


@pytest.mark.parametrize(
    "bad",
    [
        tensor("<f8", [2], bytes(15)),
        tensor("<f8", [2, -1], bytes(16)),
        tensor("<f8", ["2"], bytes(16)),
        tensor("<f8", 2, bytes(16)),
        tensor("<f8", [2], "x" * 16),
        tensor("<f8", [2**62, 2**62, 2**62], b""),
        tensor("<f8", [0] * 65, b""),
        tensor("O", [1], bytes(8)),
        tensor("|O8", [1], bytes(8)),
        tensor("<f8,<f8", [1], bytes(16)),
        tensor("<f3", [1], bytes(3)),
        tensor("<M8[banana]", [1], bytes(8)),
        tensor("<f8" + "0" * 100, [1], bytes(8)),
        tensor(7, [1], bytes(8)),
        _core.packb(pitcrew.Ext(10, b"")),
        _core.packb(pitcrew.Ext(10, b"\x93\xa3<f8\x91\x01\xc4\x08" + bytes(9))),
        _core.packb(pitcrew.Ext(10, b"\x93\xa3<f8\xdd\xff\xff\xff\xff")),
    ],
)
def test_tensors_that_are_refused(bad):
    with pytest.raises(DecodeError) as caught:
        _core.decode(b"\x91" + bad)
    assert caught.value.path == (0,) and "tensor" in caught.value.reason


@pytest.mark.parametrize(("dtype", "size", "name"), [("<u1", 1, "|u1"), ("|f8", 8, "<f8"), ("<M8[1s]", 8, "<M8[s]")])
def test_a_dtype_that_numpy_calls_otherwise_would_go_back_as_another(dtype, size, name):
    with pytest.raises(DecodeError) as caught:
        _core.decode(tensor(dtype, [1], bytes(size)))
    assert caught.value.reason == f"a tensor of dtype {dtype}, which is called {name}"


# ---- Without NumPy


def test_a_tensor_in_a_key_hashes():
    value = Tensor("<i4", (2,), b"\1\0\0\0\2\0\0\0")
    data = b"\x81" + _core.encode(value) + b"\x01"
    back = _core.decode(data)
    assert back == {value: 1} and type(next(iter(back))) is Tensor and _core.encode(back) == data
    assert value.to_numpy().tolist() == [1, 2]
    for twin in (copy.copy(value), pickle.loads(pickle.dumps(value))):
        assert twin == value and hash(twin) == hash(value)
    with pytest.raises(ValueError, match="needs 8 bytes, and has 7"):
        Tensor("<i4", (2,), bytes(7))


def test_a_tensor_arrives_where_there_is_no_numpy():
    done = run_python(
        """
import sys
sys.modules["numpy"] = None  # what an import that fails looks like
from pitcrew import _core, Tensor
import array
sent = _core.encode(array.array("i", [1, 2]))
back = _core.decode(sent)
print(type(back).__name__, back, back.data.tobytes().hex(), _core.encode(back) == sent)
"""
    )
    assert done.stdout == "Tensor <pitcrew.Tensor <i4 (2,)> 0100000002000000 True\n", done.stderr


# ---- Arrow


def test_a_stream_goes_back_as_it_came():
    value = Arrow(b"not looked into")
    back = _core.decode(_core.encode([value]))[0]
    assert type(back) is Arrow and back == value and back.data == b"not looked into" and hash(back) == hash(value)


def test_tables_and_record_batches():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"n": [1, 2, None], "s": ["a", None, "é"]})
    for value in (table, table.to_batches()[0], table.slice(1), pa.table({})):
        back = _core.decode(_core.encode({"t": value}))["t"]
        read = back.to_pyarrow()
        assert type(back) is Arrow and read.to_pylist() == value.to_pylist() and read.schema == value.schema
        assert pa.table(back).equals(read), "the PyCapsule interface"
        assert _core.encode(back) == _core.encode(Arrow(back.data))
