"""JSON text of the VM: the standard library's parser, without what it adds to JSON.

Imported by `_core` when the first frame in JSON comes, and not before.
"""

from __future__ import annotations

from json import JSONDecoder
from math import isinf

from ._core import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def _no_constant(word: str) -> NoReturn:
    raise DecodeError(f"{word} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise DecodeError(f"{text:.40} is too large for a float")
    return number


_decode = JSONDecoder(parse_constant=_no_constant, parse_float=_finite).decode


def read(text: str) -> object:
    """The value of a text; a DecodeError says where the text is wrong. Of equal keys in one object the last wins."""
    try:
        return _decode(text)
    except ValueError as error:  # of the parser, or of int for thousands of digits
        raise DecodeError(f"no valid JSON: {error}") from None
