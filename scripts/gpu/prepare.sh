#!/usr/bin/env bash
# Makes .gpu/, which goes to the GPU machine with the tracked files: what that machine lacks.
#     bash scripts/gpu/prepare.sh [FOLDER_OF_CHECKPOINTS]
#     WITH=ray bash scripts/gpu/prepare.sh    Ray in place of the benchmark's models: both are much to carry
# Needs pip, and apt-get on Debian for strace. What cannot be had is named, and left out.
set -euo pipefail
checkpoints=$(realpath -m "${1:-../shared/checkpoints}")
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
here=scripts/gpu kit=.gpu
pip() { "$python" -m pip "$1" --quiet --disable-pip-version-check --no-deps "${@:2}"; }
say() { printf 'gpu-kit: %s\n' "$*"; }

rm -rf "$kit"
mkdir -p "$kit"/{whl,strace,checkpoints}

# For CPython 3.12 on x86-64, whatever Python is here.
platforms=()
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1; do
    platforms+=(--platform "${tag}_x86_64")
done
download() {
    pip download --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" --dest "$1" "${@:2}"
}
download "$kit/whl" --requirement "$here/wheels.txt" --constraint constraints.txt

models() {
    download "$kit/whl" --requirement "$here/models.txt" --constraint tests/recipes/requirements.txt
    pip wheel --wheel-dir "$kit/whl" --requirement "$here/sdists.txt" \
        || say 'without X3D-M: what it needs could not be built'
}

ray() { # without what no cluster of this project runs: the whole of it is 240 MB
    local whole=$kit/ray
    download "$whole" --requirement tests/service/ray_engine/requirements.txt
    mv "$whole"/msgpack-*.whl "$kit/whl"
    "$python" -m zipfile --extract "$whole"/ray-*.whl "$whole"
    rm -r "$whole"/{ray-*.whl,ray/{jars,rllib,data,serve,tune,train,llm,dashboard/client}}
    chmod +x "$whole"/ray/core/src/ray/{gcs/gcs_server,raylet/raylet} # the modes were lost on the way
    tar --create --xz --file "$kit/ray.tar.xz" --directory "$whole" .
    rm -r "$whole"
}

"${WITH:-models}"

strace() ( # and the library that it needs
    cd "$kit/strace"
    apt-get download -qq strace libunwind8
    for package in *.deb; do dpkg-deb --extract "$package" unpacked; done
    cp -L unpacked/usr/bin/strace unpacked/usr/lib/x86_64-linux-gnu/libunwind*.so.* .
    rm -rf unpacked ./*.deb
)
strace 2>/dev/null || { apt-get update -qq && strace; } || say 'without strace: it could not be had'

for name in gnina_default2017_torchscript.pt gnina_dense.pt meshnet.pth hippodeep.pt; do
    cp "$checkpoints/$name" "$kit/checkpoints/" 2>/dev/null || say "without $name: it is not in $checkpoints"
done

cat >"$kit/run.sh" <<'RUN'
#!/usr/bin/env bash
exec bash "$(dirname "$0")/../scripts/gpu/run.sh"
RUN
say "$(du -sh "$kit" | cut -f1) in $kit/, with $(find "$kit/whl" -name '*.whl' | wc -l) packages"
