"""`pip install` of python/ from any folder: builds with what is on the machine, and downloads nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pitcrew import _core

TREE = Path(__file__).resolve().parent.parent.parent
TOOLS = """
import pitcrew, sys
print(pitcrew.__version__, pitcrew.__file__)
assert pitcrew._core.decode(pitcrew._core.encode([1, pitcrew.Atom("a")])) == [1, "a"]
"""


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="builds with the ordinary compiler")
def test_pip_installs_from_the_source_tree(tmp_path):
    target = tmp_path / "site"
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-index", "--target", target, TREE / "python"],
        cwd=tmp_path,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    done = subprocess.run(
        [sys.executable, "-c", TOOLS],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [_core.__version__, str(target / "pitcrew" / "__init__.py")]
    typed = {file.name for file in (target / "pitcrew").iterdir()}
    assert {"py.typed", "_core.pyi"} <= typed
