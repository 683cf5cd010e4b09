"""Arrays of numbers in memory: what their dtype is called on the wire, and which array arrives.

dtype is NumPy's `dtype.str`: byte order (`<`, `>`, `|` for one byte), kind and bytes an element: `<f8`, `|u1`, `<c16`,
`<M8[ns]`. Kinds: b bool, i and u integers, f floats, c complex, M and m datetime64 and timedelta64, S and U text of a
fixed width.
"""

from __future__ import annotations

import math
import re
import sys

from . import _core
from ._core import DecodeError, EncodeError
from .buffers import SHARED, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DTYPE = re.compile(r"([<>|])([biufcSU])(\d{1,9})|([<>])([mM])8(\[[0-9a-zA-Zμ/]{1,16}\])?")
_CODES = {"?": "b", "e": "f", "f": "f", "d": "f", "g": "f", "Zf": "c", "Zd": "c", "Zg": "c", "c": "S", "s": "S"}
_CODES |= dict.fromkeys("bhilqn", "i") | dict.fromkeys("BHILQN", "u") | dict.fromkeys("uw", "U")
_UNITS_OF_WIDTH = {"U": 4}  # kinds whose width on the wire counts characters
_MOST_DIMENSIONS = 64
_ORDER = "<" if sys.byteorder == "little" else ">"


class Tensor:
    """An array without NumPy: `dtype`, `shape` and `data`, the elements in C order.

    Arrives where NumPy cannot be imported, and as (part of) a key of a map; goes back as the same tensor.
    """

    __slots__ = ("data", "dtype", "shape")

    def __init__(self, dtype: str, shape: tuple[int, ...], data: Any) -> None:
        self.dtype = dtype
        self.shape = tuple(shape)
        self.data = memoryview(data).cast("B")
        _check(self.dtype, self.shape, self.data.nbytes, ValueError)

    def to_numpy(self) -> Any:
        """A numpy.ndarray that shares the memory."""
        import numpy

        return numpy.ndarray(self.shape, numpy.dtype(self.dtype), self.data)

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Tensor) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, tuple[int, ...], bytes]:
        return self.dtype, self.shape, self.data.tobytes()

    def __repr__(self) -> str:
        return f"<pitcrew.Tensor {self.dtype} {self.shape}>"

    def __reduce__(self) -> tuple[type[Tensor], tuple[str, tuple[int, ...], bytes]]:
        return Tensor, self._key()


# ---- What the encoder calls


def describe(value: Any) -> tuple[str, tuple[int, ...], Any]:
    """dtype, shape, and a contiguous buffer with the elements in C order."""
    if isinstance(value, Tensor):
        return value.dtype, value.shape, value.data
    if isinstance(value, Given):
        return value.dtype, value.shape, value.block
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _describe_array(numpy, value)
    with memoryview(value) as view:
        dtype = _dtype_of(view)
        return dtype, tuple(view.shape or ()), value if view.c_contiguous else view.tobytes()


def _describe_array(numpy: Any, array: Any) -> tuple[str, tuple[int, ...], Any]:
    if hasattr(array, "mask"):
        raise EncodeError("a masked array has no form on the wire; send .filled() and .mask")
    dtype = check_dtype(array.dtype, EncodeError)
    if array.nbytes >= SHARED and not array.flags.c_contiguous:
        block = _core.block(array.nbytes)  # where it is sent from, if there is shared memory: not copied once more
        numpy.copyto(numpy.ndarray(array.shape, array.dtype, block), numpy.asarray(array))
        return dtype, array.shape, block
    flat = numpy.asarray(array, order="C").reshape(-1)
    return dtype, array.shape, flat.view("u1") if flat.size else b""


def check_dtype(dtype: Any, error: type[Exception], who: str = "") -> str:
    """What NumPy's dtype is called on the wire."""
    name: str = dtype.str
    if dtype.names is not None or _DTYPE.fullmatch(name) is None:
        raise error(f"{who}an array of dtype {dtype} has no form on the wire; send .tolist()")
    return name


def _dtype_of(view: memoryview) -> str:
    order, code = _ORDER, view.format
    if code[:1] in "@=<>!":
        order, code = _ORDER if code[0] in "@=" else ">" if code[0] in ">!" else "<", code[1:]
    kind = _CODES.get(code.lstrip("0123456789"))
    if kind is None or (code[:1].isdigit() and kind not in "SU"):
        raise EncodeError(f"a buffer of format {view.format!r} has no form on the wire; send .tolist() or .tobytes()")
    width = view.itemsize // _UNITS_OF_WIDTH.get(kind, 1)
    if view.itemsize == 1 or kind == "S":
        order = "|"
    return f"{order}{kind}{width}"


# ---- What the decoder calls


def make(dtype: str, shape: tuple[int, ...], data: Any, plain: int) -> Any:
    """A numpy.ndarray that owns its memory; a Tensor without NumPy, or if a plain one is wanted."""
    _check(dtype, shape, len(data), DecodeError)
    numpy = None if plain else _numpy()
    if numpy is None:
        return Tensor(dtype, shape, bytes(data) if plain else data)
    try:
        made = numpy.ndarray(shape, numpy.dtype(dtype), data)
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError(f"a tensor of {dtype} {shape} that NumPy cannot hold: {error}") from None
    if made.dtype.str != dtype:  # it would go back as another tensor
        raise DecodeError(f"a tensor of dtype {dtype}, which is called {made.dtype.str}")
    return made


_missing = False


def _numpy() -> Any:
    global _missing
    if _missing:
        return sys.modules.get("numpy")
    try:
        import numpy
    except ImportError:
        _missing = True
        return None
    return numpy


def _check(dtype: str, shape: tuple[int, ...], nbytes: int, error: type[Exception]) -> None:
    found = _DTYPE.fullmatch(dtype)
    if found is None:
        raise error(f"a tensor of unknown dtype {dtype[:40]!r}")
    width = 8 if found[3] is None else int(found[3]) * _UNITS_OF_WIDTH.get(found[2], 1)
    if len(shape) > _MOST_DIMENSIONS:
        raise error(f"a tensor of {len(shape)} dimensions; {_MOST_DIMENSIONS} are allowed")
    if math.prod(shape) * width != nbytes:
        raise error(f"a tensor of {dtype} {shape} needs {math.prod(shape) * width} bytes, and has {nbytes}")
