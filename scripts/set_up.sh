#!/bin/sh
# Usage: set_up.sh VENV [PYTHON]. Makes the virtual environment with everything for building,
# tests and checks; on a machine that lacks something it says in one line what to install.
set -eu
venv=$1
python=${2:-}

fail() {
    echo "caching-proxy: $1" >&2
    exit 1
}

# A pyenv shim may be there and not run, so that only running an interpreter tells.
is_recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

if [ -n "$python" ]; then
    "$python" -c '' 2>/dev/null || fail "$python does not run: name a Python with make PYTHON=/path/to/python3"
    is_recent "$python" || fail "$python is older than Python 3.10: name a newer one with make PYTHON=/path/to/python3"
else
    for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
        if is_recent "$candidate"; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || fail "no Python 3.10 or newer runs: install one (Debian: apt-get install python3 python3-venv python3-dev) or name it with make PYTHON=/path/to/python3"
fi

"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python has no venv module: install it (Debian: apt-get install python3-venv)"
command -v "${CC:-cc}" >/dev/null 2>&1 ||
    fail "there is no C compiler ${CC:-cc}: install one (Debian: apt-get install gcc libc6-dev; macOS: xcode-select --install)"
"$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    fail "$python has no C headers (Python.h): install them (Debian: apt-get install python3-dev)"

echo "Making $venv with $("$python" --version) ..."
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt ||
    fail "pip could not install requirements-dev.txt: see its message above; it needs a package index"
touch "$venv/.dependencies"
