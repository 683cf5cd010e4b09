"""Arrays in memory that the VM reads as it is: filled here, then handed over without a copy."""

from __future__ import annotations

import math
import operator

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHARED = 64 * 1024  # bytes; what is smaller is copied into its frame, which costs less


class Given:
    """What a tool returns, alone or inside of something, for an array that it has given away."""

    __slots__ = ("block", "dtype", "shape")

    def __init__(self, array: Any, block: _core.Block) -> None:
        self.dtype: str = array.dtype.str
        self.shape: tuple[int, ...] = array.shape
        self.block = block

    def __repr__(self) -> str:
        return f"<pitcrew.give, {self.dtype} {self.shape}>"


def empty(shape: int | tuple[int, ...], dtype: Any = "float64") -> Any:
    """A new numpy.ndarray for `give`, in memory that the VM can read. Like numpy.empty it holds what was there before.

    It is an array like any other, and where there is no such memory it is in ordinary memory. A process that is forked
    does not have it: reading it there ends that process with SIGSEGV.
    """
    import numpy

    from .tensors import check_dtype

    like = numpy.dtype(dtype)
    check_dtype(like, ValueError, "empty: ")
    sizes = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    n = math.prod(map(operator.index, sizes)) * like.itemsize
    block: Any = _core.block(n)
    return numpy.ndarray(sizes, like, block)


def give(array: Any) -> Given:
    """Hands an array that `empty` has made to the VM without a copy, when what this returns is returned by a tool.

    @tool
    def noise(n):
        out = pitcrew.empty((n, n))
        rng.random(out=out)
        return {"noise": pitcrew.give(out)}

    It may be a view of that array, contiguous and from its beginning: `give(out[:rows])`. From now on the memory is
    only read here. Writing into this array, or into the one that `empty` made, is an error of NumPy; writing there in
    any other way ends the worker with SIGSEGV once the result has been sent. The memory is free when the VM does not
    need it any more and no array here is left that has it. ValueError for any other array, and for one that has been
    given.
    """
    import numpy

    arrays = []
    owner = array
    while isinstance(owner, numpy.ndarray):
        arrays.append(owner)
        owner = owner.base
    if not arrays or not isinstance(owner, _core.Block):
        raise ValueError("give: the array must be one that pitcrew.empty made; return any other as it is, or fill one")
    if not array.flags.c_contiguous:
        raise ValueError("give: the array must be contiguous, in C order; return it as it is, and it is copied")
    from .tensors import check_dtype

    check_dtype(array.dtype, ValueError, "give: ")
    owner.give(array.ctypes.data, array.nbytes)
    for each in arrays:
        each.flags.writeable = False
    return Given(array, owner)
