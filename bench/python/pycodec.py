"""pitcrew.packb and unpackb beside msgpack, ormsgpack, msgspec, pickle and json: bench/run pycodec [--rounds N].

In each round every codec has its turn, in an order that changes from round to round; a turn is a loop of about half a
millisecond. Times are the thread's own CPU time, so that what else the machine does counts less; medians over the
rounds. ratio_to_best is the ratio to the better of ormsgpack and msgspec.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import ormsgpack

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "priv" / "python"))
import pitcrew

TURN_NS = 500_000
RIVALS = ("ormsgpack", "msgspec")

CODECS: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "pitcrew": (pitcrew.packb, pitcrew.unpackb),
    "msgpack": (msgpack.packb, msgpack.unpackb),
    "ormsgpack": (ormsgpack.packb, ormsgpack.unpackb),
    "msgspec": (msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode),
    "pickle5": (lambda value: pickle.dumps(value, 5), pickle.loads),
    "json": (lambda value: json.dumps(value).encode(), json.loads),
}


# ---- Payloads


def payloads() -> dict[str, Any]:
    return {
        "small_map": {
            "id": 123_456,
            "name": "Ada Lovelace",
            "score": 97.5,
            "active": True,
            "tags": ["first", "second", None],
        },
        "ints_1000": [i * 7919 % 1_000_003 for i in range(1000)],
        "ints_20000": [i * 7919 % 1_000_003 for i in range(20_000)],
        "floats_100000": [i / 7 for i in range(100_000)],
        "maps_1000x6": [person(i) for i in range(1000)],
        "rows_200": [row(i) for i in range(200)],
        "binary_1MiB": bytes(range(256)) * 4096,
        "strings_50x10kB": [text(i) for i in range(50)],
        "deep_nesting": deep(100),
    }


def person(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "name": f"Person {i}",
        "email": f"person{i}@example.org",
        "city": "Bletchley",
        "score": i / 8,
        "active": i % 2 == 0,
    }


def row(i: int) -> dict[str, Any]:
    return {"row": i, "cells": [i, -i, {"label": "cell", "flags": [True, None, 1.5]}]}


def text(i: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz" * 400
    return letters[i % 26 : i % 26 + 10_000]


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for level in range(levels):
        value = [level, {"next": value}]
    return value


# ---- Measuring


def turns(function: Callable[[Any], Any], argument: Any) -> int:
    """How many calls make a turn."""
    start = time.thread_time_ns()
    calls = 0
    while time.thread_time_ns() - start < TURN_NS:
        function(argument)
        calls += 1
    return max(1, calls)


def turn(function: Callable[[Any], Any], argument: Any, calls: int) -> float:
    """Microseconds a call."""
    start = time.thread_time_ns()
    for _ in range(calls):
        function(argument)
    return (time.thread_time_ns() - start) / calls / 1000


def medians(candidates: dict[str, tuple[Callable[[Any], Any], Any]], rounds: int) -> dict[str, float]:
    calls = {name: turns(*candidate) for name, candidate in candidates.items()}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for _ in range(rounds):
        random.shuffle(names)
        for name in names:
            times[name].append(turn(*candidates[name], calls[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def can_carry(name: str, value: Any) -> bool:
    try:
        return CODECS[name][1](CODECS[name][0](value)) == value
    except TypeError:  # json has no bytes
        return False


def measure(value: Any, rounds: int) -> dict[str, dict[str, float]]:
    names = [name for name in CODECS if can_carry(name, value)]
    packs = {name: (CODECS[name][0], value) for name in names}
    unpacks = {name: (CODECS[name][1], CODECS[name][0](value)) for name in names}
    return {"packb": medians(packs, rounds), "unpackb": medians(unpacks, rounds)}


# ---- Telling


def best(times: dict[str, float]) -> float:
    return min(times[name] for name in RIVALS)


def geometric_mean(ratios: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios)))


def print_table(title: str, rows: list[tuple[str, dict[str, float]]]) -> None:
    print(f"\n{title}, microseconds")
    print(f"{'':<18}" + "".join(f"{name:>11}" for name in CODECS) + f"{'/msgpack':>11}{'/best':>8}")
    for payload, times in rows:
        cells = "".join(f"{times[name]:>11.2f}" if name in times else f"{'-':>11}" for name in CODECS)
        to_msgpack, to_best = times["pitcrew"] / times["msgpack"], times["pitcrew"] / best(times)
        print(f"{payload:<18}{cells}{to_msgpack:>11.2f}{to_best:>8.2f}")
    to_msgpack = geometric_mean([times["pitcrew"] / times["msgpack"] for _, times in rows])
    to_best = geometric_mean([times["pitcrew"] / best(times) for _, times in rows])
    print(f"{'geometric mean':<18}" + " " * 11 * len(CODECS) + f"{to_msgpack:>11.2f}{to_best:>8.2f}")
    print(f"bench pycodec geometric-mean {title} ratio_to_msgpack={to_msgpack:.2f} ratio_to_best={to_best:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=101)
    rounds = parser.parse_args().rounds
    results = {}
    for payload, value in payloads().items():
        results[payload] = measure(value, rounds)
        for way, times in results[payload].items():
            print(
                f"bench pycodec {payload} {way} us={times['pitcrew']:.2f}"
                f" ratio_to_msgpack={times['pitcrew'] / times['msgpack']:.2f}"
                f" ratio_to_best={times['pitcrew'] / best(times):.2f}",
                flush=True,
            )
    for way in ("packb", "unpackb"):
        print_table(way, [(payload, result[way]) for payload, result in results.items()])


if __name__ == "__main__":
    main()
