# Sourced by the scripts beside it: where the tree is, and which Python everything uses.
# shellcheck shell=sh
#
#   PYTHON    the interpreter that .venv is made from: as given, else /usr/bin/python3 if it has headers, else python3
#   VENV      the project's virtual environment

ROOT=$(cd "$(dirname "$0")/.." && pwd)
VENV=$ROOT/.venv

has_headers() {
    "$1" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null
}

# A `python3' earlier in PATH (a shim, a virtual environment) may lack headers or vanish; the system's stays.
choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" || echo "$PYTHON"
    elif has_headers /usr/bin/python3; then
        echo /usr/bin/python3
    else
        command -v python3 || echo python3
    fi
}

# Erlang and Elixir read file names and source as UTF-8 only when the locale says so.
case "${LC_ALL:-${LC_CTYPE:-${LANG:-}}}" in
    *UTF-8 | *utf8 | *utf-8) ;;
    *) export LC_ALL=C.UTF-8 ;;
esac
