"""Tools of the benchmark of functions and tools of the VM."""

import time

import pitcrew
from pitcrew import tool


@tool
def round_trips(function, value, n):
    """The median of what a call of the function took, in microseconds."""
    taken = []
    for _ in range(n):
        begin = time.perf_counter_ns()
        function(value)
        taken.append(time.perf_counter_ns() - begin)
    return sorted(taken)[n // 2] / 1000


@tool
def round_trips_by_name(name, value, n):
    return round_trips(pitcrew.elixir[name], value, n)
