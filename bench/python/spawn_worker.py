"""A separate interpreter: imports NumPy, answers each line, ends when there is none."""

from __future__ import annotations

import os
import sys

import numpy


def main() -> None:
    for line in sys.stdin:
        print(int(numpy.arange(int(line)).sum()), os.getpid(), flush=True)


if __name__ == "__main__":
    main()
