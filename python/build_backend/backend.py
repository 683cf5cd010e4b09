"""Builds the wheel for `pip install path/to/pitcrew/python`.

Runs c_src/Makefile, the only place of C flags, and packs what it made.
A backend of its own, so that nothing has to be downloaded: https://peps.python.org/pep-0517/.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent.parent
TREE = HERE.parent
SUMMARY = "Supervised, pooled, observable Python workers for Erlang and Elixir: the Python side"


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "pitcrew")
        make(package, Path(folder, "build"))
        name = f"pitcrew-{version()}-{tag()}.whl"
        write_wheel(Path(wheel_directory, name), package)
    return name


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> NoReturn:
    raise SystemExit("pitcrew has no sdist: its C sources lie beside this folder; install from the source tree")


def make(package: Path, build: Path) -> None:
    subprocess.run(
        ["make", "-C", TREE / "c_src", "python", f"PYTHON={sys.executable}", f"PY_DIR={package}", f"BUILD={build}"],
        check=True,
        env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")},
    )


def version() -> str:
    text = (TREE / "src" / "pitcrew.app.src").read_text()
    found = re.search(r'{vsn,\s*"([^"]+)"}', text)
    if found is None:
        raise SystemExit("src/pitcrew.app.src holds no version")
    return found[1]


def tag() -> str:
    python = f"cp{sys.version_info.major}{sys.version_info.minor}{sys.abiflags}"
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    return f"{python}-{python}-{platform}"


def write_wheel(path: Path, package: Path) -> None:
    info = f"pitcrew-{version()}.dist-info"
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:

        def add(name: str, data: bytes) -> None:
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}")
            wheel.writestr(name, data)

        for file in sorted(package.rglob("*")):
            if file.is_file():
                add(f"pitcrew/{file.relative_to(package)}", file.read_bytes())
        add(f"{info}/METADATA", metadata().encode())
        add(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: pitcrew\nRoot-Is-Purelib: false\nTag: {tag()}\n".encode())
        wheel.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))


def metadata() -> str:
    readme = (HERE / "README.md").read_text()
    return (
        f"Metadata-Version: 2.1\nName: pitcrew\nVersion: {version()}\nSummary: {SUMMARY}\nLicense: Apache-2.0\n"
        f"Requires-Python: >=3.11\nDescription-Content-Type: text/markdown\n\n{readme}"
    )
