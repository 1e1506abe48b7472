#!/bin/sh
# Runs a command as root, with sudo where need be, and gives what it leaves in the checkout back to its owner.
set -u

[ "$(id -u)" -eq 0 ] && exec "$@"

command -v sudo >/dev/null || {
    echo "fleet.stall: the lab makes network namespaces, which takes root, and there is no sudo here; run make as root" >&2
    exit 1
}
trap : INT TERM HUP
sudo --preserve-env=KEEP,PATH "$@"
code=$?
for left in runs .lab .cache .ansible .pytest_cache .hypothesis; do
    [ -e "$left" ] && sudo chown -R "$(id -u):$(id -g)" "$left"
done
exit "$code"
