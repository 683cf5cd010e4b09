"""Pids are few, and are used again: strangers.py, in a pid namespace where that happens at once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import FIXTURES, PACKAGE, SECONDS

SCRIPT = Path(__file__).parent / "strangers.py"


def namespace() -> list[str]:
    """The command that runs another as the first process of a pid namespace, as root or not."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare (Debian: util-linux) to make a pid namespace with")
    plain = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    said = ""
    for command in (plain, [*plain, "--user", "--map-root-user"]):
        probe = [*command, "sh", "-c", "cat /proc/sys/kernel/ns_last_pid > /proc/sys/kernel/ns_last_pid"]
        done = subprocess.run(probe, capture_output=True, text=True)
        if done.returncode == 0:
            return command
        said += done.stderr
    pytest.skip(f"no pid namespace may be made here in which the next pid can be chosen: {said.strip()}")


def test_no_signal_ever_reaches_a_stranger(tmp_path):
    env = {**os.environ, "PYTHONPATH": f"{PACKAGE}:{FIXTURES}"}
    command = [*namespace(), sys.executable, str(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS * 10)
    assert done.returncode == 0, done.stderr
    met = json.loads(done.stdout.splitlines()[-1])["strangers"]
    assert met > 100, "strangers were too slow to take the pids"
