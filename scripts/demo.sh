#!/bin/bash
# The main job on real input: a real C project is configured, built and tested over its own source
# tree without touching it. demo.sh FUSS
set -euo pipefail
cd "$(dirname "$0")/.."
fuss=$(realpath "${1:-build/fuss}")
scratch=$(mktemp -d /tmp/fuss-demo.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
source=$scratch/project upper=$scratch/upper
mkdir "$upper"

say() {
    printf '\n== %s\n' "$*"
}

# Content, mode, owner and times of every file: one line of hash for the whole tree.
fingerprint() {
    (
        cd "$1"
        find . -printf '%p %y %m %U:%G %T@ %l\n' | LC_ALL=C sort
        find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    ) | sha256sum | cut -c1-32
}

if scripts/get-source.sh zlib "$source" 2>/dev/null; then
    say "the project: zlib, source package of this distribution"
    # shellcheck disable=SC2016
    build='./configure >configure.out && make -j2 >make.out 2>&1 && make test | tail -4 &&
        echo "a line to pack" | ./minigzip | ./minigzip -d'
else
    say "the project: this one (no package source to be had here)"
    mkdir "$source"
    cp -a Makefile common tracer tests scripts "$source/"
    build='make -j2 build/fuss >make.out 2>&1 && build/fuss --version'
fi
before=$(fingerprint "$source")
echo "$source: $(find "$source" -type f | wc -l) files, fingerprint $before"

say "fuss --mountpoint=$source --lowerdir=$source --upperdir=$upper -- sh -c '...'"
start=$(date +%s%N)
"$fuss" "--mountpoint=$source" "--lowerdir=$source" "--upperdir=$upper" -- \
    sh -c "cd '$source' && $build"
echo "took $((($(date +%s%N) - start) / 1000000)) ms"

say "what landed in the upper"
find "$upper" -mindepth 1 -printf '%y %8s  %P\n' | sort -k3 >"$scratch/list"
head -25 "$scratch/list"
count=$(wc -l <"$scratch/list")
[ "$count" -le 25 ] || echo "... $((count - 25)) more"
[ "$count" -gt 0 ]

say "a second look at the union: the build is there, on top of the source"
"$fuss" "--mountpoint=$source" "--lowerdir=$source" "--upperdir=$upper" -- \
    sh -c "cd '$source' && ls | wc -l && make -q 2>/dev/null && echo 'make: nothing left to do' || true"

say "the source tree"
after=$(fingerprint "$source")
if [ "$before" != "$after" ]; then
    echo "THE SOURCE CHANGED: $after" >&2
    exit 1
fi
echo "fingerprint $after: not one byte, mode or time changed"
