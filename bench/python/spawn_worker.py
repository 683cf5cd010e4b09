"""A separate interpreter of the start-up benchmark: imports NumPy, answers one line, ends."""

from __future__ import annotations

import os
import sys

import numpy


def main() -> None:
    count = int(sys.stdin.readline())
    print(int(numpy.arange(count).sum()), os.getpid(), flush=True)


if __name__ == "__main__":
    main()
