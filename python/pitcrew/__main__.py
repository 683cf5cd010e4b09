"""`python -m pitcrew`: a zygote, or with `--worker` one worker of a pool that does not fork.

Started by the VM, not by people.
"""

from __future__ import annotations

import sys

USAGE = """\
usage: python -m pitcrew --start auto|fork|spawn [--preload MODULE ...] --tools MODULE [--tools MODULE ...]
                         [--allow-eval] [--allow-import MODULE ...]
       python -m pitcrew --version
This program is started by a Pitcrew pool, with its link as descriptor 3."""

EXIT_USAGE = 2
STARTS = ("auto", "fork", "spawn")


class Options:
    """The command line (docs/protocol.md section 6)."""

    def __init__(self) -> None:
        self.start = "auto"
        self.preload: list[str] = []
        self.tools: list[str] = []
        self.worker = False
        self.allows_eval = False
        self.allowed: list[str] = []


def parse(argv: list[str]) -> Options | str:
    """The options, or what is wrong with them."""
    options = Options()
    rest = iter(argv)
    for word in rest:
        if word == "--worker":
            options.worker = True
        elif word == "--allow-eval":
            options.allows_eval = True
        elif word in ("--tools", "--preload", "--start", "--allow-import"):
            value = next(rest, None)
            if value is None:
                return f"{word} needs a value"
            if word == "--tools":
                options.tools.append(value)
            elif word == "--preload":
                options.preload.append(value)
            elif word == "--allow-import":
                options.allowed.append(value)
            elif value not in STARTS:
                return f"--start must be one of {', '.join(STARTS)}, not {value!r}"
            else:
                options.start = value
        else:
            return f"{word!r} is not an option"
    return options


def main(argv: list[str]) -> None:
    if argv == ["--version"]:
        from . import __version__

        print(__version__)
        return
    options = parse(argv)
    if isinstance(options, str):
        print(f"pitcrew: {options}\n{USAGE}", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)
    from . import permits

    permits.allow(options.allows_eval, options.allowed)
    if options.worker:
        from .worker import run_spawned

        run_spawned(options.preload + options.tools)
    else:
        from .zygote import run

        run(options.start, options.preload, options.tools)


if __name__ == "__main__":
    main(sys.argv[1:])
