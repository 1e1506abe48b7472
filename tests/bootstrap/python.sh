#!/bin/sh
# Prints the path of a Python that can run the controller and make virtual environments (3.10 to 3.14).
# Where there is none it installs the distribution's, the one package that Ansible can't install: Ansible itself needs it.
set -u

can_run='import ensurepip, sys, venv; assert (3, 10) <= sys.version_info < (3, 15); print(sys.executable)'

find_python() {
    for name in python3.13 python3.12 python3.11 python3.10 python3; do
        "$name" -c "$can_run" 2>/dev/null && return 0
    done
    return 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "fleet.stall: neither root nor sudo here; run this as root, then try again: $*" >&2
        return 1
    fi
}

install_python() {
    echo "fleet.stall: no Python 3.10 to 3.14 with venv; installing the distribution's" >&2
    if command -v apt-get >/dev/null; then
        as_root apt-get -qq update &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3 python3-venv
    elif command -v dnf >/dev/null; then
        as_root dnf -q install -y python3.12 || as_root dnf -q install -y python3
    else
        echo "fleet.stall: neither apt-get nor dnf here" >&2
        return 1
    fi
}

find_python && exit 0
install_python >/dev/null
find_python && exit 0
echo "fleet.stall: the controller needs Python 3.10 to 3.14 with the venv module (found: $(python3 --version 2>&1)); put one on PATH" >&2
exit 1
