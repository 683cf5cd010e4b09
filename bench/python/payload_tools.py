"""Tools of the benchmark of large payloads: they return what they get or hold, and tell what has arrived."""

from __future__ import annotations

import struct
import time
import zlib
from typing import Any

import numpy
import pitcrew
from pitcrew import tool

PAGE = 4096
_held: dict[str, Any] = {}


@tool
def echo(value: object) -> object:
    return value


@tool
def echo_view(data: memoryview) -> memoryview:
    return data


@tool
def echo_bytes(data: bytes) -> bytes:
    return data


# ---- Checksums of what has arrived, by the same annotations


@tool
def crc_view(data: memoryview) -> int:
    return zlib.crc32(data)


@tool
def crc_bytes(data: bytes) -> int:
    return zlib.crc32(data)


@tool
def crc_text(text: str) -> int:
    return zlib.crc32(text.encode())


@tool
def crc_floats(values: list) -> int:
    return zlib.crc32(struct.pack(f"<{len(values)}d", *values))


@tool
def crc_rows(rows: list) -> int:
    """Of the fields of each row in the order of their names, as the benchmark writes them as well."""
    lines = (f"{key}={_text(value)}\n" for row in rows for key, value in sorted(row.items()))
    return zlib.crc32("".join(lines).encode())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return struct.pack(">d", value).hex() if isinstance(value, float) else str(value)


# ---- What is measured here and not there


@tool
def time_bytes_of(data: memoryview) -> float:
    """Microseconds that Python itself takes for bytes(view)."""
    start = time.perf_counter_ns()
    copied = bytes(data)
    taken = time.perf_counter_ns() - start
    assert len(copied) == len(data)
    return taken / 1000


# ---- Arrays


@tool
def touch(array: numpy.ndarray) -> int:
    """One number of all pages, so that all of the array must have arrived."""
    words = array.view("u8")[:: PAGE // 8]
    return int(numpy.bitwise_xor.reduce(words))


@tool
def crc_array(array: numpy.ndarray) -> int:
    return zlib.crc32(array.view("u1"))


@tool
def hold(n: int) -> int:
    """Makes an array of n random float64; the checksum of it."""
    _held["array"] = numpy.random.default_rng().random(n)
    return zlib.crc32(_held["array"].view("u1"))


@tool
def held() -> numpy.ndarray:
    return _held["array"]


@tool
def fill(n: int) -> int:
    """Fills memory that can be given away with n random float64; the checksum of it."""
    array = pitcrew.empty((n,), "float64")
    array[:] = numpy.random.default_rng().random(n)
    _held["given"] = array
    return zlib.crc32(array.view("u1"))


@tool
def give() -> object:
    """Gives it away; nothing here has it any more."""
    return pitcrew.give(_held.pop("given"))
