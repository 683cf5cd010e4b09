"""Serialization overhead: JSON and MessagePack for the guide's kinds of data; `BENCH=pycodec` has the figures."""

from __future__ import annotations

import json
import time

import numpy
import pitcrew
import pytest


def benchmark_serialization(data, iterations: int, **types) -> dict:
    """Seconds of both, there and back; JSON has arrays as lists, and MessagePack as they are."""
    text = data.tolist() if isinstance(data, numpy.ndarray) else data

    start = time.perf_counter()
    for _ in range(iterations):
        from_json = json.loads(json.dumps(text))
    json_time = time.perf_counter() - start

    start = time.perf_counter()
    for _ in range(iterations):
        from_msgpack = pitcrew.unpackb(pitcrew.packb(data, **types), **types)
    msgpack_time = time.perf_counter() - start

    return {
        "json": json_time,
        "msgpack": msgpack_time,
        "speedup": json_time / msgpack_time,
        "from_json": from_json,
        "from_msgpack": from_msgpack,
    }


@pytest.mark.parametrize(
    "data",
    [
        {"id": 7, "name": "pitcrew", "score": 0.5, "ok": True, "next": None},
        {"rows": [{"id": n, "cells": [[n, n / 8, str(n)]] * 3, "tags": {"even": n % 2 == 0}} for n in range(100)]},
    ],
    ids=["simple dict", "large nested structure"],
)
def test_benchmark_serialization(data):
    result = benchmark_serialization(data, iterations=20)
    assert result["from_json"] == result["from_msgpack"] == data
    assert result["json"] > 0 and result["msgpack"] > 0
    assert result["speedup"] == result["json"] / result["msgpack"]


def test_benchmark_serialization_of_a_numpy_array():
    array = numpy.linspace(0.0, 1.0, 10_000).reshape(100, 100)
    result = benchmark_serialization(array, iterations=3, types="pitcrew")
    arrived = result["from_msgpack"]
    assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
    assert numpy.array_equal(arrived, array) and numpy.array_equal(result["from_json"], array)
