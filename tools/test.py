"""Runs every suite, shows its output as it comes, and ends with what failed and totals, both read from it.

    tools/with-venv python tools/test.py [suite]...

A suite fails when a test fails, when its command does, or when it ran no test at all.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Totals:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


@dataclass
class Suite:
    name: str
    command: list[str]
    count: Callable[[str], Totals]
    failure: str  # the lines that say of a test that it failed, and some of why


def numbers(pattern: str, text: str) -> int:
    """The sum of the first group over all matches."""
    return sum(int(match) for match in re.findall(pattern, text, re.MULTILINE))


def count_cmocka(text: str) -> Totals:
    return Totals(
        passed=numbers(r"^\[  PASSED  \] .*?(\d+) test\(s\)", text),
        failed=numbers(r"^\[  FAILED  \] .*?(\d+) test\(s\), listed", text),
        skipped=numbers(r"^\[  SKIPPED \] .*?(\d+) test\(s\), listed", text),
    )


def count_beam(text: str) -> Totals:
    """EUnit as rebar3 prints it, and ExUnit: "2 doctests, 5 tests, 1 failure, 1 skipped"."""
    line = next(iter(re.findall(r"^.*\d+ tests?, \d+ failures?.*$", text, re.MULTILINE)[-1:]), "")
    run = numbers(r"(\d+) (?:doctest|propert|test)", line)
    failed = numbers(r"(\d+) (?:failure|cancelled|invalid)", line)
    skipped = numbers(r"(\d+) (?:skipped|excluded)", line)
    return Totals(run - failed - skipped, failed, skipped)


def count_pytest(text: str) -> Totals:
    line = next(iter(re.findall(r"^.*\d+ (?:passed|failed|error).* in [\d.]+s.*$", text, re.MULTILINE)[-1:]), "")
    return Totals(
        numbers(r"(\d+) passed", line), numbers(r"(\d+) (?:failed|error)", line), numbers(r"(\d+) skipped", line)
    )


def count_lines(what: str) -> Callable[[str], Totals]:
    """Lines of the form "consumer release: ok", or "consumer release: FAILED" and why."""

    def count(text: str) -> Totals:
        return Totals(
            len(re.findall(rf"^{what}\S+: ok\b", text, re.MULTILINE)),
            len(re.findall(rf"^{what}\S+: FAILED", text, re.MULTILINE)),
        )

    return count


MAKE = ["make", "--no-print-directory", "-C", "c_src"]
NUMBERED = r"^ +\d+\) .*(?:\n.+){0,5}"
CANCELLED = r"^  \S.*\n +%% Unknown error.*(?:\n.+){0,2}"  # as rebar3 writes it

SUITES = [
    Suite("cmocka", [*MAKE, "app", "test"], count_cmocka, r"^\[ +(?:ERROR|LINE|FAILED) +\] (?!.*listed).*"),
    Suite("EUnit", ["rebar3", "eunit"], count_beam, f"{NUMBERED}|{CANCELLED}"),
    Suite("ExUnit", ["mix", "test"], count_beam, NUMBERED),
    Suite("pytest", [sys.executable, "-m", "pytest", "-q"], count_pytest, r"^(?:FAILED|ERROR) .*"),
    Suite("consumers", ["test/consumers/run"], count_lines("consumer "), r"^consumer \S+: FAILED.*"),
    Suite("fuzzers", [*MAKE, "fuzz", "FUZZ_SECONDS=30"], count_lines("fuzz_"), r"^fuzz_\S+: FAILED.*"),
]
MOST_SHOWN = 10  # failures of a suite
WIDTH = 200  # characters of a line of theirs

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def show_failures(suite: Suite, text: str) -> None:
    failures = re.findall(suite.failure, text, re.MULTILINE)
    for failure in failures[:MOST_SHOWN]:
        for line in failure.splitlines():
            print(f"{suite.name}: {line[:WIDTH]}")
    if len(failures) > MOST_SHOWN:
        print(f"{suite.name}: and {len(failures) - MOST_SHOWN} more, above")


def run(suite: Suite) -> tuple[Totals, str]:
    """What it counted, and its output."""
    print(f"\n==== {suite.name}: {' '.join(suite.command)}", flush=True)
    start = time.monotonic()
    lines = []
    process = subprocess.Popen(
        suite.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
    )
    assert process.stdout is not None
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        lines.append(COLOUR.sub("", line))
    status = process.wait()
    text = "".join(lines)
    totals = suite.count(text)
    totals.seconds = time.monotonic() - start
    if totals.failed == 0 and (status != 0 or totals.passed == 0):
        why = f"exited with status {status}" if status != 0 else "ran no test"
        print(f"{suite.name} {why}: counted as one failure")
        totals.failed = 1
    return totals, text


def main(names: list[str]) -> int:
    unknown = set(names) - {suite.name for suite in SUITES}
    if unknown:
        sys.exit(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(s.name for s in SUITES)}")
    results = [(suite, *run(suite)) for suite in SUITES if not names or suite.name in names]
    print()
    for suite, totals, text in results:
        if totals.failed:
            show_failures(suite, text)
    print(f"{'suite':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for suite, totals, _ in results:
        print(f"{suite.name:<12}{totals.passed:>8}{totals.failed:>8}{totals.skipped:>9}{totals.seconds:>9.1f}")
    failed = sum(totals.failed for _, totals, _ in results)
    print(f"{sum(totals.passed for _, totals, _ in results)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
