"""What the kernel allows a worker: the options `rlimits` and `nice` of its pool. Imported where there are any."""

from __future__ import annotations

import os

from . import _core

# What a worker needs at the least beyond what it has already, to get ready and to serve.
ROOM = 8 * 1024 * 1024


def apply(limits: dict[str, int]) -> None:
    """Raises RuntimeError for what is impossible, with the reason."""
    for name, value in limits.items():
        if name == "address_space":
            check_room(value)
        try:
            _core.limit(name, value)
        except OSError as error:
            raise RuntimeError(refusal(name, value, error)) from None


def check_room(limit: int) -> None:
    used = address_space()
    if used + ROOM > limit:
        raise RuntimeError(
            f"rlimits: the address space of this worker has {used} bytes already, so that a limit of {limit} leaves it "
            f"no room; give it at least {used + ROOM}, or import less"
        )


def address_space() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def refusal(name: str, value: int, error: OSError) -> str:
    if name == "nice":
        return f"nice cannot be {value}: {error}"
    import resource

    kind = {"address_space": resource.RLIMIT_AS, "cpu": resource.RLIMIT_CPU, "files": resource.RLIMIT_NOFILE}[name]
    _, most = resource.getrlimit(kind)
    return f"rlimits: {name} cannot be {value}, for the system allows this process no more than {most}: {error}"
