#!/bin/bash
# Runs test suites of others in fuss, from checkouts outside the project that the user names; as root.
#   conformance.sh --fuss FUSS [--pjdfstest DIR] [--unionmount DIR] [--backend NAME]... [--style NAME]
#                  [--dir DIR] [--kernel]
# pjdfstest has to be built where it lies (DIR/pjdfstest). It runs on the filesystem of --dir itself first:
# what passes there has to pass in fuss, but for LOST tests. --kernel runs kernel overlayfs beside them.
# --dir (default: a new directory in /tmp) is where layers and logs go; the logs are kept.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

LOST=9
FILE_TIME=3600

fuss='' pjdfstest='' unionmount='' dir='' style=chardev kernel=no
backends=()
while [ $# -gt 0 ]; do
    case $1 in
    --kernel) kernel=yes; shift; continue ;;
    --fuss | --pjdfstest | --unionmount | --dir | --style | --backend) [ $# -ge 2 ] || { echo "$1 wants a value" >&2; exit 2; } ;;
    *) echo "unknown option: $1" >&2; exit 2 ;;
    esac
    case $1 in
    --fuss) fuss=$(realpath "$2") ;;
    --pjdfstest) pjdfstest=$(realpath "$2") ;;
    --unionmount) unionmount=$(realpath "$2") ;;
    --dir) dir=$2 ;;
    --style) style=$2 ;;
    --backend) backends+=("$2") ;;
    esac
    shift 2
done
if [ -z "$fuss" ] || [ -z "$pjdfstest$unionmount" ]; then
    sed -n '3,4s/^# *//p' "$0" >&2
    exit 2
fi
[ "$(id -u)" = 0 ] || { echo "conformance.sh: the suites want root" >&2; exit 2; }
[ ${#backends[@]} -gt 0 ] || backends=(hybrid ptrace)
[ -n "$dir" ] || dir=$(mktemp -d /tmp/fuss-conformance.XXXXXX)
mkdir -p "$dir"
dir=$(realpath "$dir")
bad=0

# Layers that everybody may reach, as a suite with several users needs them: $1.
layers() {
    rm -rf "${dir:?}/$1"
    mkdir -p "$dir/$1"/{lower/sub,upper,work,union}
    echo lower >"$dir/$1/lower/sub/file"
    chmod 755 "$dir" "$dir/$1" "$dir/$1"/*
}

# What passed, one a line, as FILE NUMBER: the log $1 of prove -v.
passed() {
    awk '/\.t \.+ *$/ { file = $1 } /^ok [0-9]+/ && !/# TODO/ { print file, $2 }' "$1" | sort
}

# pjdfstest as $1, by the command that follows, which gets prove's words.
pjd() {
    local as=$1
    shift
    # A test that fails is no failure of the run; the lists say which it was.
    timeout "$FILE_TIME" "$@" prove -rv "$pjdfstest/tests" >"$dir/$as.log" 2>&1 || true
    passed "$dir/$as.log" >"$dir/$as.passed"
    printf 'pjdfstest   %-8s %s\n' "$as" "$(wc -l <"$dir/$as.passed")"
}

if [ -n "$pjdfstest" ]; then
    [ -x "$pjdfstest/pjdfstest" ] || { echo "$pjdfstest is not built" >&2; exit 2; }
    layers native
    pjd native env -C "$dir/native/union"
    if [ "$kernel" = yes ]; then
        layers kernel
        k=$dir/kernel
        mount -t overlay overlay -o "lowerdir=$k/lower,upperdir=$k/upper,workdir=$k/work" "$k/union"
        pjd kernel env -C "$k/union"
        umount "$k/union"
    fi
    for backend in "${backends[@]}"; do
        layers "$backend"
        b=$dir/$backend
        pjd "$backend" "$fuss" --backend="$backend" --whiteout="$style" --mountpoint="$b/union" \
            --lowerdir="$b/lower" --upperdir="$b/upper" -- env -C "$b/union"
        comm -23 "$dir/native.passed" "$dir/$backend.passed" >"$dir/$backend.lost"
        sed "s/^/            $backend does not pass: /" "$dir/$backend.lost"
        [ "$(wc -l <"$dir/$backend.lost")" -le "$LOST" ] || bad=1
    done
    # Nothing passed natively: the suite did not run.
    [ -s "$dir/native.passed" ] || bad=1
fi

if [ -n "$unionmount" ]; then
    if [ "$kernel" = yes ]; then
        layers kernel
        for slash in 0 1; do
            UNIONMOUNT_BASEDIR=$dir/kernel/union "$unionmount/run" --ov --samefs --ts=$slash
            umount "$dir/kernel/union/m"
        done >"$dir/unionmount-kernel.log" 2>&1 || true
        printf 'unionmount  %-8s %s\n' kernel "$(grep -c '^TEST ' "$dir/unionmount-kernel.log")"
    fi
    for backend in "${backends[@]}"; do
        "$here/unionmount.py" "$unionmount" "$fuss" "$dir/unionmount" --backend "$backend" --style "$style" \
            >"$dir/unionmount-$backend.log" || bad=1
        printf 'unionmount  %-8s %s\n' "$backend" "$(tail -n 1 "$dir/unionmount-$backend.log")"
    done
fi
echo "logs: $dir"
exit "$bad"
