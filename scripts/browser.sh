#!/usr/bin/env bash
# A headless Chromium for tests/browser, where there is none: Debian's own, installed as root.
set -euo pipefail

say() { printf 'browser: %s\n' "$*"; }

if command -v chromium >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say 'there is no chromium, and it can be installed only as root on Debian' >&2
    exit 1
fi
say 'Debian packages: chromium fonts-dejavu-core'
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
