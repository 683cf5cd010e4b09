"""Looks every so often at what the threads of this process are doing, for `pitcrew.profiler`.

cProfile knows who has called whom, but no stacks; these are stacks, of those moments.
"""

from __future__ import annotations

import sys
import threading
from threading import Event, Thread, get_ident, main_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType

MOST_STACKS = 20_000
MOST_FRAMES = 200
OTHERS = "(other stacks)"
HANDS = "pitcrew-"  # so begin the names of the threads that run calls
# Whose code a thread is in that waits for something to do.
_WAITING = ("/threading.py", "/queue.py", "/selectors.py", "/concurrent/futures/thread.py")
_OURS = __file__.rpartition("/")[0] + "/"
_PROFILER = f"{_OURS}profiler.py"
_THREAD = ("/threading.py",)
_LOOP = ("/asyncio/", "/selectors.py")


class Sampler:
    """A thread that takes the GIL once in each interval (seconds), until it is stopped."""

    file = __file__

    def __init__(self, interval: float) -> None:
        self.over = Event()
        self.stacks: dict[tuple[int | str, ...], int] = {}
        self.names: dict[int, tuple[CodeType, str]] = {}
        self.looks = 0
        self.thread = Thread(target=self.run, args=(interval,), name="pitcrew-sampler", daemon=True)
        self.thread.start()

    def run(self, interval: float) -> None:
        while not self.over.wait(interval):
            self.look()

    def stop(self) -> None:
        """It has ended when this returns."""
        self.over.set()
        self.thread.join()

    def look(self) -> None:
        self.looks += 1
        me, main = get_ident(), main_thread().ident
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for thread, frame in sys._current_frames().items():
            if thread != me:
                stack = self.stack(frame, names.get(thread, "a thread"), thread == main)
                if stack:
                    self.count(stack)

    def count(self, stack: tuple[int | str, ...]) -> None:
        if stack not in self.stacks and len(self.stacks) >= MOST_STACKS:
            stack = (OTHERS,)
        self.stacks[stack] = self.stacks.get(stack, 0) + 1

    def stack(self, frame: FrameType | None, thread: str, is_main: bool) -> tuple[int | str, ...]:
        """The code that runs, outermost first; empty if it only waits for something to do."""
        codes: list[CodeType] = []
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        codes.reverse()
        if any(code.co_filename == _PROFILER and code.co_name != "around" for code in codes):
            return ()  # the profiler itself
        codes = codes[_depth_of_serve(codes) :]
        if is_main:
            codes = codes[_depth(codes, (_OURS, *_LOOP)) :]  # nothing is left where the event loop waits, or none runs
        elif thread.startswith(HANDS):
            codes = codes[_depth(codes, (_OURS, *_THREAD)) :]
        elif not codes or codes[-1].co_filename.endswith(_WAITING):
            return ()
        start: tuple[int | str, ...] = () if is_main or thread.startswith(HANDS) else (f"thread {plain(thread)}",)
        return start + tuple(map(self.name, codes[:MOST_FRAMES])) if codes else ()

    def name(self, code: CodeType) -> int:
        """Stacks have numbers in the place of names, which are made once."""
        number = id(code)
        if number not in self.names:  # which keeps it alive, so that no other gets its number
            self.names[number] = code, label(code)
        return number

    def seen(self) -> dict[str, object]:
        """How often it has looked, and stacks as they stand in a collapsed file, with how often each was there."""
        folded = [
            [";".join(part if isinstance(part, str) else self.names[part][1] for part in stack), count]
            for stack, count in self.stacks.items()
        ]
        return {"looks": self.looks, "folded": folded}


def _depth_of_serve(codes: list[CodeType]) -> int:
    """How many frames there are until what the serve loop has called: those of the worker's start."""
    for depth, code in enumerate(codes):
        if code.co_name == "serve" and code.co_filename == f"{_OURS}worker.py":
            return depth + 1
    return 0


def _depth(codes: list[CodeType], places: tuple[str, ...]) -> int:
    """How many frames there are until the first that is in none of these files."""
    depth = 0
    while depth < len(codes) and any(part in codes[depth].co_filename for part in places):
        depth += 1
    return depth


def label(code: CodeType) -> str:
    file = code.co_filename.rpartition("/")[2]
    return plain(f"{code.co_qualname} ({file}:{code.co_firstlineno})")


def plain(name: str) -> str:
    """What a line of a collapsed file can have for the name of a frame."""
    kept = "".join(" " if c in ";\r\n" else c for c in name)
    return kept.encode("utf-8", "backslashreplace").decode()
