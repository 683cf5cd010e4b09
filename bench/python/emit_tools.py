"""Tools of the benchmark of events."""

import time

import pitcrew
from pitcrew import tool

pitcrew.declare_event("bench.emitted", measurements=["n"], metadata=["what"])
pitcrew.declare_event("bench.span", span=True, metadata=["what"])


@tool
def emits(count):
    """Nanoseconds for each, and how many were taken."""
    taken = 0
    begin = time.perf_counter_ns()
    for n in range(count):
        taken += pitcrew.emit("bench.emitted", {"n": n}, {"what": "benchmark"})
    return [(time.perf_counter_ns() - begin) / count, taken]


@tool
def spans(count):
    begin = time.perf_counter_ns()
    for _ in range(count):
        with pitcrew.span("bench.span", what="benchmark"):
            pass
    return [(time.perf_counter_ns() - begin) / count, 2 * count]
