"""Tools of the stream benchmark."""

from pitcrew import tool


@tool
def numbers(n):
    yield from range(n)


@tool
def blocks(n, size):
    import numpy

    for i in range(n):
        yield numpy.full(size, i % 256, dtype="uint8")


@tool
def pid():
    import os

    return os.getpid()
