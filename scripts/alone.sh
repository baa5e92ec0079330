#!/usr/bin/env bash
# Runs a command in a network of its own, which has only a loopback: whoever reaches Ray runs code.
set -euo pipefail
command -v ip >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends iproute2 >/dev/null; }
# So that the tests can make sure that they are in another one.
OUTSIDE_NETWORK=$(readlink /proc/self/ns/net); export OUTSIDE_NETWORK
root=(); [ "$(id -u)" = 0 ] || root=(--map-root-user)
exec unshare "${root[@]}" --net sh -c 'ip link set lo up && exec "$@"' sh "$@"
