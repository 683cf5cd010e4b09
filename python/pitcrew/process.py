"""What zygote and workers have in common: imports, output, the environment, the way out."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # what `signal` wraps in enums, whose import is slow
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

MARK = "PITCREW_INSTANCE"


def import_modules(modules: list[str]) -> None:
    for name in modules:
        __import__(name)


def ignore_interrupts() -> None:
    """A terminal's interrupt goes to the VM and to all it has started; the zygote ends with its link, not with that."""
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)


def restore_interrupts() -> None:
    """In a worker, unless the user's modules have decided something else."""
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def prepare_output() -> None:
    """Output goes to pipes, but people read it as it comes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)


def flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:  # not contextlib.suppress: its import costs a worker 3 ms
            stream.flush()
        except (AttributeError, OSError, ValueError):  # None, a broken pipe, closed
            pass


def leave(status: int) -> NoReturn:
    """Ends the process: exit functions and output, but no teardown of modules, and no wait for threads."""
    import atexit

    try:
        atexit._run_exitfuncs()
    except BaseException:  # it has been printed
        pass
    flush_output()
    os._exit(status)
