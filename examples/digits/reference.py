"""The same model without Pitcrew: one process, one loop, one answer a line.

The last line tells how many seconds the loop took.
"""

from __future__ import annotations

import time

from digits_model import classify
from sklearn.datasets import load_digits


def main() -> None:
    images = load_digits().data.astype(int).tolist()
    start = time.perf_counter()
    answers = [classify(image) for image in images]
    seconds = time.perf_counter() - start
    print(*answers, sep="\n")
    print(f"seconds {seconds:.6f}")


if __name__ == "__main__":
    main()
