"""A worker, from its birth to the serve loop in C and from there to its end."""

from __future__ import annotations

import os
import sys

from . import __version__, _core, permits, process, records, registry
from .manifest import declared_events, kind, manifest, served

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from .registry import Tool

PAYLOAD = 3


def run_forked(wid: int, payload: dict[str, Any]) -> NoReturn:
    """In a fork of the zygote, which has imported what is needed: an import here would copy half a megabyte."""
    process.note_mark(payload["instance"], wid)
    reseed()
    run(payload, [])


def run_spawned(modules: list[str]) -> NoReturn:
    """In an interpreter of its own; the payload is in a pipe."""
    with os.fdopen(PAYLOAD, "rb") as pipe:
        payload = _core.decode(pipe.read())
    process.prepare_output()
    process.restore_interrupts()
    run(payload, modules)


def run(payload: dict[str, Any], modules: list[str]) -> NoReturn:
    own = os.getpid()
    path, token = payload["socket"], payload["token"]
    try:
        call = _core.connect(path, token, "call")
        hello, started = read_hello(call)
    except (OSError, _core.Error) as error:
        print(f"pitcrew: a worker could not reach the VM at {path}: {error}", file=sys.stderr)
        process.leave(1)
    try:
        limit(hello)
        process.import_modules(modules)
        _core.open_events(hello.get("events", 0))
        if "gc_pauses" in hello:
            from .pauses import install

            install(hello["gc_pauses"])
        log = hello.get("log")
        if log is not None:
            records.install(log["level"])
        for hook in registry.start_hooks:
            run_hook(hook)
            if os.getpid() != own:
                raise RuntimeError("a process that a start hook forked must end with os._exit")
        tools = prepare()
        freeze(hello)
    except BaseException as error:  # also sys.exit in a module or a hook
        if os.getpid() != own:
            process.leave_forked(error)
        refuse(call, error)
    side = _core.connect(path, token, "side")
    _core.write_frame(call, tools.ready)
    serve(call, side, tools, hello, started)


def limit(hello: dict[str, Any]) -> None:
    """Before any code of the user's but what the zygote has run."""
    limits = hello.get("limits")
    if limits:
        from .limits import apply

        apply(limits)


def freeze(hello: dict[str, Any]) -> None:
    """What is here when the start hooks have run stays: no collection looks at it again."""
    if hello.get("gc_freeze"):
        import gc

        gc.collect()
        gc.freeze()


class Prepared:
    """The tools as the VM is told of them, and as the serve loop looks them up."""

    def __init__(self, tools: dict[str, Tool]) -> None:
        self.changes = registry.changes
        # What cannot be told is an error now, and of the start.
        self.ready = _core.encode([_core.KIND_READY, 0, description(tools)])
        if any(kind(tool.function) == "coroutine" for tool in tools.values()):
            from . import aio  # noqa: F401 # here, where workers that are forked share it
        self.served = served(tools)


_prepared: Prepared | None = None


def prepare() -> Prepared:
    """Made once in the zygote, and again only by a worker whose start hooks have changed the tools."""
    global _prepared
    if _prepared is None or _prepared.changes != registry.changes:
        _prepared = Prepared(registry.tools)
    return _prepared


def read_hello(call: int) -> tuple[dict[str, Any], int]:
    """With the descriptor of the word that tells which call has started, or -1. What is shared is open then."""
    frame, fds = _core.read_hello(call)
    if frame is None:
        raise ConnectionResetError("the VM closed the connection")
    if frame[0] != _core.KIND_HELLO or frame[2]["protocol"] != _core.PROTOCOL:
        raise _core.ProtocolError(f"the VM speaks another protocol: {frame!r}")
    hello: dict[str, Any] = frame[2]
    shared = hello.get("buffers")
    if len(fds) < bool(hello.get("started")) + (shared is not None):
        raise _core.ProtocolError("not all descriptors have come that the VM speaks of")
    started = fds.pop(0) if hello.get("started") else -1
    if shared is not None:
        _core.open_buffers(fds.pop(0), shared["max"])
    for fd in fds:
        os.close(fd)
    return hello, started


def description(tools: dict[str, Tool]) -> dict[str, Any]:
    return {
        "protocol": _core.PROTOCOL,
        "python": ".".join(map(str, sys.version_info[:3])),
        "pitcrew": __version__,
        "tools": manifest(tools),
        "events": declared_events(registry.events),
    }


def refuse(call: int, error: BaseException) -> NoReturn:
    """Tells the VM why this worker cannot start."""
    from . import fault

    kind, message, traceback = fault.describe(error, with_traceback=True)
    told = {"kind": "start_error", "type": kind, "message": message, "traceback": traceback, "path": None}
    try:
        _core.write_frame(call, [_core.KIND_ERROR, 0, 0, told])
    except OSError:
        print(traceback, file=sys.stderr)
    process.leave(1)


def serve(call: int, side: int, tools: Prepared, hello: dict[str, Any], started: int) -> NoReturn:
    own = os.getpid()
    status = 0
    limits = hello["max_frame"], hello["max_depth"], hello.get("spin_us", 0)
    credit = hello.get("log", {}).get("credit", 0)
    try:
        concurrency = hello.get("concurrency", 1)
        _core.serve(call, side, tools.served, *limits, started, credit, permits.current.find, concurrency)
    except BaseException as error:
        if os.getpid() != own:
            process.leave_forked(error)
        if isinstance(error, SystemExit):  # from a signal handler of the user's, between two calls
            status = process.exit_status(error)
        else:
            process.print_error(error)
            status = 1
    process.call_hooks(registry.stop_hooks, run_hook, "stop")
    process.leave(status)


def run_hook(hook: Callable[[], Any]) -> None:
    """One that is `async def` runs on the loop that tools run on later."""
    result = hook()
    if hasattr(result, "__await__"):
        from . import aio

        aio.run(result)


def reseed() -> None:
    """Forks of one process must not draw the same numbers. Only what has been imported; others seed themselves."""
    random = sys.modules.get("random")
    if random is not None:
        random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.seed()
