"""What a worker does for `Pitcrew.Profiler`: it records what its calls do, from one call to a later one.

A recording is an object that the VM refers to. What is on when it begins is off when it is stopped, and also when
nobody refers to it any more, because whoever wanted it has died. Imported when the first one begins.
"""

from __future__ import annotations

import os
import sys
from itertools import islice
from threading import get_ident, main_thread

from . import _core, registry
from .sampler import Sampler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from cProfile import Profile
    from typing import Any

    Place = tuple[str, int, str]
    Row = list[Any]

MOST_PLACES = 200  # of allocations, from each worker
_COROUTINE = 0x80  # in co_flags
_PACKAGE = __file__.rpartition("/")[0] + "/"

_is_recording = False


def start(options: dict[str, Any]) -> Recording | Coroutine[Any, Any, Recording]:
    """The tool of that name. cProfile is of a thread, and what is to be seen of coroutines happens on the main one."""
    if options["many"] and _has_coroutines() and not _on_main_thread():
        return _start_there(options)
    return Recording(options)


async def _start_there(options: dict[str, Any]) -> Recording:
    return Recording(options)


def _on_main_thread() -> bool:
    return get_ident() == main_thread().ident


def _has_coroutines() -> bool:
    return any(
        getattr(getattr(tool.function, "__code__", None), "co_flags", 0) & _COROUTINE
        for tool in registry.tools.values()
    )


class Recording:
    """`options`: what is wanted (functions, sample, memory), and whether many calls run at once (many)."""

    def __init__(self, options: dict[str, Any]) -> None:
        global _is_recording
        self.main: Profile | None = None
        self.threads: Threads | None = None
        self.sampler: Sampler | None = None
        self.memory: Memory | None = None
        self.is_open = False
        if _is_recording:
            _core_refuse("it is being profiled already")
        _is_recording = self.is_open = True
        try:
            if options["functions"]:
                import cProfile  # noqa: F401 # before anything looks
            if options["memory"] is not None:
                self.memory = Memory(options["memory"])
            if options["sample"] is not None:
                self.sampler = Sampler(options["sample"] / 1000)
            if options["functions"]:
                self.begin_functions(options["many"])
        except BaseException:
            self.close()
            raise

    def begin_functions(self, many: bool) -> None:
        from cProfile import Profile

        if many and sys.version_info >= (3, 12):
            _core_refuse("cProfile of Python 3.12 and later does not tell threads apart; sample instead")
        if many:
            self.threads = Threads(Profile)
            _core.around(self.threads.around)
        if _on_main_thread():
            if sys.getprofile() is not None:
                _core_refuse("another profiler is at work in it")
            self.main = Profile()
            self.main.enable()

    def mark(self) -> None:
        """From here on memory grows, as far as this recording is concerned."""
        if self.memory is not None:
            self.memory.mark()

    def stop(self) -> dict[str, Any] | Coroutine[Any, Any, dict[str, Any]]:
        """Ends it, and tells what was seen."""
        return self.stop_there() if self.main is not None and not _on_main_thread() else self.finish()

    async def stop_there(self) -> dict[str, Any]:
        return self.finish()

    def finish(self) -> dict[str, Any]:
        if not self.is_open:
            raise RuntimeError("the recording has ended")
        main, threads, sampler, memory = self.main, self.threads, self.sampler, self.memory
        if main is not None:
            main.disable()
        seen = None if memory is None else memory.seen()
        self.close()
        profiles = [profile for profile in (main, *(threads.profiles.values() if threads else ())) if profile]
        return {
            "functions": [rows(profile) for profile in profiles],
            "stacks": None if sampler is None else sampler.seen(),
            "memory": seen,
        }

    def close(self) -> None:
        global _is_recording
        if not self.is_open:
            return
        self.is_open = _is_recording = False
        if self.main is not None:
            self.end_main(self.main)
        if self.threads is not None:
            _core.around(None)
        if self.sampler is not None:
            self.sampler.stop()
        if self.memory is not None:
            self.memory.stop()

    @staticmethod
    def end_main(main: Profile) -> None:
        if _on_main_thread():
            main.disable()
            return
        from . import aio

        aio.loop().call_soon_threadsafe(main.disable)

    def __del__(self) -> None:
        self.close()


def _core_refuse(message: str) -> None:
    raise _core.Refused("not_allowed", message)


# ---- Functions


class Threads:
    """A profile for each thread that runs calls, on while it does."""

    def __init__(self, make: Callable[[], Profile]) -> None:
        self.make = make
        self.profiles: dict[int, Profile] = {}
        self.inside: set[int] = set()

    def around(self, tool: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Called for each call of a tool in its place. On the main thread the profile is on all the time."""
        me = get_ident()
        if me in self.inside or _on_main_thread():
            return tool(*args, **kwargs)
        profile = self.profiles.get(me)
        if profile is None:
            profile = self.profiles[me] = self.make()
        try:
            self.inside.add(me)
            profile.enable()
            return tool(*args, **kwargs)
        finally:
            try:
                profile.disable()
            finally:
                self.inside.discard(me)


def rows(profile: Profile) -> list[Row]:
    """Each function with what pstats knows of it, and of its callers, which are named by their place in the list.

    [file, line, name, primitive calls, calls, own seconds, cumulative seconds, [[caller, the same four], ...]]
    """
    profile.snapshot_stats()
    stats: Any = profile.stats
    mine = {key: values for key, values in stats.items() if not is_own(key, values[4])}
    place = {key: i for i, key in enumerate(mine)}
    return [
        [
            text(file),
            line,
            text(name),
            *values,
            [[place[caller], cc, nc, tt, ct] for caller, (nc, cc, tt, ct) in callers.items() if caller in place],
        ]
        for (file, line, name), (*values, callers) in mine.items()
    ]


def is_own(key: Place, callers: dict[Place, Any]) -> bool:
    """What is Pitcrew's, and what is called for that only. A tool that a method's call leads to is not."""
    file, _, name = key
    if file.startswith(_PACKAGE) or (file == "~" and "_lsprof.Profiler" in name):
        return True
    for_us = _PACKAGE if file == "~" else __file__
    return bool(callers) and all(caller[0].startswith(for_us) for caller in callers)


def text(name: str) -> str:
    """What has a form in UTF-8: names of files may be anything."""
    return name.encode("utf-8", "backslashreplace").decode()


# ---- Memory


_TRACEMALLOC = f"{os.path.dirname(os.__file__)}/tracemalloc.py"


class Memory:
    """Which lines have allocated what is there, by tracemalloc."""

    def __init__(self, frames: int) -> None:
        import tracemalloc

        self.tracemalloc = tracemalloc
        self.is_ours = not tracemalloc.is_tracing()
        if self.is_ours:
            tracemalloc.start(frames)
        else:
            tracemalloc.reset_peak()
        self.mark()

    def mark(self) -> None:
        self.first = self.tracemalloc.take_snapshot()

    def seen(self) -> dict[str, Any]:
        current, peak = self.tracemalloc.get_traced_memory()
        last = self.tracemalloc.take_snapshot()
        there = last.statistics("lineno")
        growth = [row for row in last.compare_to(self.first, "lineno") if row.size_diff]
        growth.sort(key=lambda row: -abs(row.size_diff))
        return {
            "current": current,
            "peak": peak,
            "allocations": [[*place(row), row.size, row.count] for row in of_others(there)],
            "growth": [[*place(row), row.size_diff, row.count_diff] for row in of_others(growth)],
        }

    def stop(self) -> None:
        if self.is_ours:
            self.tracemalloc.stop()


def of_others(rows: list[Any]) -> list[Any]:
    """The first of those that are not of Pitcrew, nor of tracemalloc."""
    others = (row for row in rows if not row.traceback[0].filename.startswith((_PACKAGE, _TRACEMALLOC)))
    return list(islice(others, MOST_PLACES))


def place(row: Any) -> list[Any]:
    frame = row.traceback[0]
    return [text(os.fspath(frame.filename)), frame.lineno]
