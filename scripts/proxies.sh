#!/usr/bin/env bash
# nginx and Caddy for tests/proxies, where they are not: Debian's own, installed as root.
set -euo pipefail

say() { printf 'proxies: %s\n' "$*"; }

PATH=$PATH:/usr/sbin:/sbin
declare -A package=([nginx]=nginx-light [caddy]=caddy [openssl]=openssl [curl]=curl)
missing=()
for program in "${!package[@]}"; do
    command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "${missing[*]} can be installed only as root on Debian" >&2
    exit 1
fi
say "Debian packages: ${missing[*]}"
# Debian starts the daemon of a package unless this file says no; the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
