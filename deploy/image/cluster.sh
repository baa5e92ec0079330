#!/bin/bash
# Starts a part of the cluster in docker-compose.yml: `cluster credentials`, `head`, `node` or `replica`.
set -euo pipefail

credentials=/etc/convlast/store
# For all files of Ray and of the slots' processes: what is there is left by an earlier start.
ray=/var/lib/convlast/ray

random() { od -An -v -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }

make_credentials() {
    [ ! -e "$credentials/store.env" ] || return 0
    local id secret key
    id=$(random 10)
    secret=$(random 20)
    key=$(random 20)
    umask 0377
    rm -f "$credentials"/*
    printf '{"identities": [{"name": "convlast", "actions": ["Admin"],
        "credentials": [{"accessKey": "%s", "secretKey": "%s"}]}]}\n' "$id" "$secret" \
        >"$credentials/identities.json"
    printf '[jwt.filer_signing]\nkey = "%s"\n' "$key" >"$credentials/security.toml"
    printf 'AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n' "$id" "$secret" >"$credentials/new"
    mv "$credentials/new" "$credentials/store.env" # last, and whole
}

take_credentials() {
    set -a
    # shellcheck source=/dev/null
    . "$credentials/store.env"
    set +a
}

start_ray() {
    rm -rf "$ray"
    mkdir -p "$ray/tmp"
    # Nobody reads what the monitor of logs would send: it would only take memory.
    TMPDIR=$ray/tmp exec python3 -m service.ray_engine "$@" \
        --temp-dir="$ray" --plasma-directory="$ray" --include-log-monitor=false
}

case $1 in
credentials)
    make_credentials
    ;;
head)
    start_ray head --node-ip-address="$(hostname -i)"
    ;;
node)
    take_credentials
    start_ray node
    ;;
replica) # the service, and the node that Ray wants beside it
    set -m # what follows is a group of processes, which ends as one
    # A node ends with its head. Each one that follows finds the next head, and the service goes on.
    while :; do
        (CONVLAST_DEVICE=cpu start_ray node --num-cpus=0) || true
        sleep 2
    done &
    node=$!
    trap 'kill -TERM -- "-$node"' EXIT
    take_credentials
    python3 -m service &
    service=$!
    trap 'kill -TERM "$service"; wait "$service"; exit' TERM # it finishes its jobs first
    wait "$service"
    ;;
*)
    echo "cluster: there is no part named $1" >&2
    exit 2
    ;;
esac
