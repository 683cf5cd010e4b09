"""What two Pythons do without Pitcrew: pickle 5 and JSON over plain pipes.

The child decodes and encodes everything. Reads lines `FORM KIND N TRIPS` (`pickle5 bytes 1048576 20`) and answers each
with the median of that many round trips in microseconds. KIND says what is sent: rows, floats, bytes, text, and array
and lists of float64, for which the child returns one number. pickle 5 keeps bytes and arrays apart from the pickle, so
that they are not copied into it; JSON has bytes in base64.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
import statistics
import struct
import subprocess
import sys
import time
from typing import Any, BinaryIO

import numpy

HEAD = struct.Struct("<I")
SIZE = struct.Struct("<Q")


# ---- Messages: how many parts, their sizes, the parts


def send(pipe: BinaryIO, parts: list[Any]) -> None:
    views = [memoryview(part).cast("B") for part in parts]
    pipe.write(HEAD.pack(len(views)) + b"".join(SIZE.pack(view.nbytes) for view in views))
    for view in views:
        pipe.write(view)
    pipe.flush()


def receive(pipe: BinaryIO) -> list[bytearray] | None:
    head = pipe.read(HEAD.size)
    if not head:
        return None
    count = HEAD.unpack(head)[0]
    sizes = [SIZE.unpack(pipe.read(SIZE.size))[0] for _ in range(count)]
    parts = [bytearray(size) for size in sizes]
    for part in parts:
        pipe.readinto(part)
    return parts


# ---- Forms


def dump_pickle5(value: Any) -> list[Any]:
    buffers: list[Any] = []
    whole = pickle.PickleBuffer(value) if isinstance(value, bytes | memoryview) else value
    return [pickle.dumps(whole, 5, buffer_callback=lambda buffer: buffers.append(buffer.raw())), *buffers]


def load_pickle5(parts: list[bytearray]) -> Any:
    return pickle.loads(parts[0], buffers=parts[1:])


def dump_json(value: Any) -> list[bytes]:
    if isinstance(value, bytes):
        return [json.dumps({"base64": base64.b64encode(value).decode()}).encode()]
    return [json.dumps(value).encode()]


def load_json(parts: list[bytearray]) -> Any:
    value = json.loads(parts[0])
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value


FORMS = {"pickle5": (dump_pickle5, load_pickle5), "json": (dump_json, load_json)}
ANSWERS = {"array": lambda array: int(array.size), "lists": lambda values: int(numpy.array(values).size)}


# ---- Values


def make(kind: str, n: int) -> Any:
    if kind == "rows":
        return [row(i) for i in range(n)]
    if kind == "floats":
        return [random.random() for _ in range(n)]
    if kind == "bytes":
        return os.urandom(n)
    if kind == "text":
        return os.urandom(n // 2).hex()
    array = numpy.random.default_rng().random(n)
    return array if kind == "array" else array.tolist()


def row(i: int) -> dict[str, object]:
    name, city = os.urandom(6).hex(), os.urandom(4).hex()
    score = random.random()
    return {"id": i, "name": name, "email": f"{name}@example.org", "city": city, "active": i % 2 == 0, "score": score}


# ---- The two ends


def serve(form: str, kind: str) -> None:
    dump, load = FORMS[form]
    answer = ANSWERS.get(kind, lambda value: value)
    while (parts := receive(sys.stdin.buffer)) is not None:
        send(sys.stdout.buffer, dump(answer(load(parts))))


class Peer:
    """A child, and what goes there."""

    def __init__(self, form: str, kind: str, n: int) -> None:
        argv = [sys.executable, __file__, form, kind]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.dump, self.load = FORMS[form]
        self.value = make(kind, n)
        self.same = kind not in ANSWERS
        assert self.trip() == self.value if self.same else self.trip() == n, "another value came back"

    def trip(self) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        send(self.process.stdin, self.dump(self.value))
        parts = receive(self.process.stdout)
        assert parts is not None, "the child has ended"
        return self.load(parts)

    def measure(self, trips: int) -> float:
        taken = []
        for _ in range(trips):
            start = time.perf_counter_ns()
            result = self.trip()
            taken.append(time.perf_counter_ns() - start)
            del result
        return statistics.median(taken) / 1000


def main() -> None:
    peers: dict[tuple[str, str, int], Peer] = {}
    for line in sys.stdin:
        form, kind, n, trips = line.split()
        key = form, kind, int(n)
        if key not in peers:
            peers[key] = Peer(*key)
        print(peers[key].measure(int(trips)), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        serve(sys.argv[1], sys.argv[2])
    else:
        main()
