"""Tools of the Elixir tests and doctests."""

import os
import signal

from pitcrew import session, tool


@tool
def add(a, b):
    """The sum of two values."""
    return a + b


@tool
def total(numbers):
    return sum(numbers)


@tool
def first_of(values, n):
    return [next(values) for _ in range(n)]


@tool
def add_one(n):
    return n + 1


@tool
def greet(name, greeting="Hello"):
    return f"{greeting}, {name}"


@tool
def divide(a, b):
    return a / b


@tool
def echo(value):
    return value


@tool
def type_name(value):
    return type(value).__name__


@tool
def remember(key, value):
    session.state[key] = value


@tool
def recall(key):
    return session.state.get(key)


@tool
def arguments(*args, **kwargs):
    return [list(args), kwargs]


@tool
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@tool(idempotent=True)
def die_once(path):
    """Dies the first time, which the file at `path` remembers; says its process id the second time."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)


@tool
def wait_forever():
    signal.pause()


@tool
def count_to(n):
    yield from range(1, n + 1)
