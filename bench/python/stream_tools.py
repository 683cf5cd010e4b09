"""Tools of the stream benchmark."""

import numpy
from pitcrew import tool


@tool
def numbers(n):
    yield from range(n)


@tool
def blocks(n, size):
    for i in range(n):
        yield numpy.full(size, i % 256, dtype="uint8")


@tool
def taken(elements):
    return sum(1 for _ in elements)
