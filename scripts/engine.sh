#!/usr/bin/env bash
# A container engine for tests/container, where there is none: installs Docker, fetches compose and
# buildx, and makes a small stand-in for the base image, since there may be no registry. All but the
# Debian packages goes to .cache/engine. Starts nothing: tests/container/engine.py does.
#
# Does nothing where an engine answers. Otherwise needs root, on Debian 12 or newer.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/.cache/engine
export DOCKER_CONFIG=$folder/config

say() { printf 'engine: %s\n' "$*"; }

if DOCKER_CONFIG='' docker info >/dev/null 2>&1; then
    say 'one answers already; it is used as it is'
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say 'none answers, and one can be installed only as root on Debian' >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror() { # the one that apt uses here
    # shellcheck disable=SC2016  # apt fills it in
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" | head -1
}

declare -A packages=([dockerd]=docker.io [iptables]=iptables [ip]=iproute2 [debootstrap]=debootstrap)
missing=()
for program in "${!packages[@]}"; do
    command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
if [ ${#missing[@]} -gt 0 ]; then
    say "Debian packages: ${missing[*]}"
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Debian 12 has compose 1 only. The plugins of Debian 13 run there too: unpacked, not installed.
mkdir -p "$folder" "$DOCKER_CONFIG/cli-plugins"
if ! docker compose version >/dev/null 2>&1 || ! docker buildx version >/dev/null 2>&1; then
    say 'compose and buildx'
    apt=$folder/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) trixie main" \
        >"$apt/sources.list"
    options=(-o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=-
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update -qq
    (cd "$apt" && apt-get "${options[@]}" download -qq docker-compose docker-buildx)
    for package in "$apt"/docker-*.deb; do
        dpkg-deb --extract "$package" "$apt/unpacked"
    done
    mv -f "$apt"/unpacked/usr/libexec/docker/cli-plugins/* "$DOCKER_CONFIG/cli-plugins/"
    rm -rf "$apt"
fi

if [ ! -e "$folder/base.tar" ]; then
    say "a stand-in for the base image: Debian $codename"
    root=$(mktemp -d "$folder/base.XXXXXX")
    debootstrap --variant=minbase --include=ca-certificates "$codename" "$root" "$(mirror)" \
        >"$folder/debootstrap.log" 2>&1
    tar --numeric-owner --exclude='./var/cache/apt/archives/*.deb' --exclude='./var/lib/apt/lists/*' \
        -C "$root" -cf "$folder/base.part" .
    rm -rf "$root"
    mv "$folder/base.part" "$folder/base.tar"
fi
say 'what it needs is there'
