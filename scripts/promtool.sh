#!/usr/bin/env bash
# Prometheus' promtool for the tests, from Debian's package, without the server that is in it too.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'promtool: %s\n' "$*"; }

if command -v promtool >/dev/null || [ -x .venv/bin/promtool ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    say 'there is no promtool, and it can be unpacked only on Debian' >&2
    exit 1
fi
say 'unpacking it from the Debian package prometheus into .venv/bin'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    chown _apt "$folder" # apt downloads as this user
fi
(cd "$folder" && apt-get download -qq prometheus)
dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -xf - -C "$folder" ./usr/bin/promtool
mv "$folder/usr/bin/promtool" .venv/bin/promtool
