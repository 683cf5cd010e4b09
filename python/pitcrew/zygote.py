"""The zygote: imports the user's modules once, decides how workers are made, and hands over to the loop in C."""

from __future__ import annotations

import gc
import os
import sys

from . import __version__, _core, fault, permits, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

LINK = 3
MARK_DIGITS = 8
ENDING_SECONDS = 0.2


def run(start: str, preload: list[str], tools: list[str]) -> NoReturn:
    """Never returns: a worker that was forked goes on in worker.py, the zygote ends with its link."""
    check_link()
    process.ignore_interrupts()
    process.prepare_output()
    check_mark()
    imported: list[str] = []
    threads: list[str] = []
    if start != "spawn":
        imported = preload + tools
        import_or_fail(imported)
        threads = thread_names()
        start = decide(start, threads)
    if start == "fork":
        prepare_or_fail()
    send(
        "ready",
        {"start": start, "python": python_version(), "pitcrew": __version__, "threads": threads, "modules": imported},
    )
    if start == "spawn":
        _core.zygote_loop(LINK, worker_argv(preload, tools))
    from . import worker

    process.forget_exits()
    gc.collect()
    gc.freeze()  # what is here now is shared with every worker: no collection of theirs should touch, and so copy, it
    process.flush_output()
    process.hold_interrupts()
    process.restore_interrupts()
    wid, payload = _core.zygote_loop(LINK, None)
    worker.run_forked(wid, payload)


def check_link() -> None:
    import stat

    try:
        is_socket = stat.S_ISSOCK(os.fstat(LINK).st_mode)
    except OSError:
        is_socket = False
    if not is_socket:
        from .__main__ import EXIT_USAGE, USAGE

        print(f"pitcrew: descriptor {LINK} is no socket\n{USAGE}", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)
    os.set_inheritable(LINK, False)


def check_mark() -> None:
    mark = os.environ.get(process.MARK, "")
    if len(mark) <= MARK_DIGITS + 1 or mark[-MARK_DIGITS - 1] != "-":
        fail("internal", None, f"{process.MARK} must be <instance>-{'0' * MARK_DIGITS}, not {mark!r}", None)


def import_or_fail(modules: list[str]) -> None:
    try:
        process.import_modules(modules)
    except BaseException as error:  # also a module that calls sys.exit
        fail("import", *fault.describe(error, with_traceback=True))


def prepare_or_fail() -> None:
    """What every worker would do again after its fork."""
    from . import records, worker

    try:
        worker.prepare()
        records.prepare()
    except Exception as error:  # an annotation whose repr raises, a docstring that is no text
        fail("import", *fault.describe(error, with_traceback=True))


def decide(start: str, threads: list[str]) -> str:
    if not threads:
        return "fork"
    if start == "auto":
        return "spawn"
    names = ", ".join(threads)
    fail(
        "threads",
        None,
        "start: fork is impossible, because threads run after the modules were imported, and they would not survive "
        f"a fork: {names}. Start them in an @on_worker_start hook instead, or use start: spawn",
        None,
    )


def thread_names() -> list[str]:
    """Every thread but this one: Python's by their names, others by what the kernel calls them."""
    import time

    threading = sys.modules.get("threading")
    known = {} if threading is None else {t.native_id: t.name for t in threading.enumerate()}
    give_up = time.monotonic() + ENDING_SECONDS
    while True:
        others = sorted(set(map(int, os.listdir("/proc/self/task"))) - {os.getpid()})
        # A thread that was joined is still a task for a moment: Python counts it out before the kernel does.
        if set(others) <= set(known) or time.monotonic() > give_up:
            return [known.get(tid) or kernel_name(tid) for tid in others]
        time.sleep(0.001)


def kernel_name(tid: int) -> str:
    try:
        with open(f"/proc/self/task/{tid}/comm") as file:
            return f"{file.read().strip()} (native thread)"
    except OSError:  # it has just ended
        return f"thread {tid}"


def python_version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def worker_argv(preload: list[str], tools: list[str]) -> list[str]:
    """This interpreter, with the options it was given, as a worker."""
    given = sys.orig_argv[1 : sys.orig_argv.index("-m")]
    return [
        sys.executable,
        *given,
        "-m",
        "pitcrew",
        "--worker",
        *(word for name in preload for word in ("--preload", name)),
        *(word for name in tools for word in ("--tools", name)),
        *permits.argv(),
    ]


def fail(stage: str, type_: str | None, message: str, traceback: str | None) -> NoReturn:
    send("failed", {"stage": stage, "type": type_, "message": message, "traceback": traceback})
    process.flush_output()
    os._exit(1)  # no exit hook of a half-imported module may keep us


def send(name: str, payload: dict[str, object]) -> None:
    os.write(LINK, _core.encode([name, _core.encode(payload)]))
