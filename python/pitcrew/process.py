"""What zygote and workers have in common: imports, output, the environment, the way out."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # what `signal` wraps in enums, whose import is slow
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn, TypeVar

    Hook = TypeVar("Hook")

MARK = "PITCREW_INSTANCE"


def import_modules(modules: list[str]) -> None:
    for name in modules:
        __import__(name)


def note_mark(instance: str, wid: int) -> None:
    """In a fork, whose own environment says it already: in Python's copy of that, which programs it starts may get."""
    value = f"{instance}-{wid:08x}"
    data = getattr(os.environ, "_data", None)
    if isinstance(data, dict) and MARK.encode() in data:
        data[MARK.encode()] = value.encode()  # putenv and the way to it would copy 60 KiB in every worker
    else:
        os.environ[MARK] = value


def ignore_interrupts() -> None:
    """A terminal's interrupt goes to the VM and to all it has started; the zygote ends with its link, not with that."""
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)


def restore_interrupts() -> None:
    """As workers have them, unless the user's modules have decided something else."""
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def hold_interrupts() -> None:
    """Until the zygote loops, which ignores them."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGINT])


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


def forget_exits() -> None:
    """Before the forks: exit functions of the zygote are for its end, and may remove what all workers use.

    Libraries register theirs once, for all that comes later; those of the standard library can tell what is whose, and
    stay.
    """
    import atexit

    atexit._clear()
    logging, util, weakref = map(sys.modules.get, ("logging", "multiprocessing.util", "weakref"))
    if logging is not None:
        atexit.register(logging.shutdown)
    if util is not None:
        sys.modules["multiprocessing.process"]._children.clear()  # of the zygote's: they would be told to end
        atexit.register(util._exit_function)  # its finalizers know in which process they were made
    if weakref is not None:
        for finalizer in list(weakref.finalize._registry):
            finalizer.atexit = False
        weakref.finalize._registered_with_atexit = False  # the next one registers anew


def exit_status(end: SystemExit) -> int:
    """As Python takes it, which prints what is no number."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def call_hooks(hooks: Iterable[Hook], call: Callable[[Hook], object], name: str) -> None:
    """All of them, whatever one of them raises. A process that one of them forks must not come back."""
    own = os.getpid()
    for hook in hooks:
        try:
            call(hook)
            if os.getpid() != own:
                raise RuntimeError(f"a process that a {name} hook forked must end with os._exit")
        except BaseException as error:  # the others still run
            if os.getpid() != own:
                leave_forked(error)
            print_error(error)


def print_error(error: BaseException) -> None:
    from . import fault

    print(fault.traceback_of(error), file=sys.stderr, flush=True)


def leave_forked(error: BaseException) -> NoReturn:
    """Ends a process that a tool or a hook forked and that came back: hooks and exit functions are the worker's."""
    status = 1
    if isinstance(error, SystemExit):
        status = exit_status(error)
    else:
        from . import fault

        print(fault.traceback_of(error), file=sys.stderr)
    flush_output()
    os._exit(status)


def leave(status: int) -> NoReturn:
    """Ends the process: exit functions and output, but no teardown of modules, and no wait for threads."""
    import atexit

    try:
        atexit._run_exitfuncs()
    except BaseException:  # it has been printed
        pass
    flush_output()
    os._exit(status)
