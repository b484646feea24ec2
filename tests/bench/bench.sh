#!/bin/bash
# bench.sh BUILD: what a union costs, row by row, as ratios to the same work on a plain directory.
# Every round runs each variant once, in turn, so that a noisy minute hits all of them alike; a cell is
# the median of its rounds. Variants that cannot be had here (no root, no FUSE, no PRoot) show "-".
#
#   BENCH_QUICK=1     smaller rows, a few minutes
#   BENCH_ROWS=...    only these rows (rows.sh)      BENCH_VARIANTS=...  only these variants
#   BENCH_DIR=DIR     where the trees live. Default: /dev/shm where it has 4 GiB, else TMPDIR. A disk adds
#                     noise of its own: ext4 skips inodes deleted in the last seconds one by one, so that
#                     creating files right after removing some takes up to three times as long.
#   BENCH_DISK=DIR    a directory on ext4 for the copy-up rows (default TMPDIR)
#   BENCH_SHIM=WAY    --shim of the hybrid column (default auto)
#   BENCH_IMAGE=DIR[:DIR...]  layers of a root with bash, gcc, libc6-dev and python3, for the image rows
#   BENCH_WRITE=FILE  put the table between the bench markers of that file
#   BENCH_STRICT=1    a bar missed makes the exit status 1
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-build}" && pwd)
tools=$build/bench
fuss=$build/fuss

# A private mount namespace: whatever happens, no mount is left behind.
if [[ $(id -u) == 0 && -z ${BENCH_PRIVATE:-} ]]; then
    BENCH_PRIVATE=1 exec unshare -m --propagation private "$0" "$@"
fi

max_rounds=7
# shellcheck source=tests/bench/rows.sh
source "$here/rows.sh"
# shellcheck source=tests/bench/gauges.sh
source "$here/gauges.sh"

variants=(native floor ptrace hybrid overlayfs fuse-overlayfs proot)
[[ -z ${BENCH_ROWS:-} ]] || read -ra rows <<<"$BENCH_ROWS"
[[ -z ${BENCH_VARIANTS:-} ]] || read -ra variants <<<"$BENCH_VARIANTS"

place=${BENCH_DIR:-${TMPDIR:-/tmp}}
if [[ -z ${BENCH_DIR:-} && -w /dev/shm ]] && (($(df -k --output=avail /dev/shm | tail -n 1) > 4194304)); then
    place=/dev/shm
fi
base=$(mktemp -d "$place/fuss-bench.XXXXXX")
disk=$(mktemp -d "${BENCH_DISK:-${TMPDIR:-/tmp}}/fuss-bench-disk.XXXXXX") # what is measured on a disk
results=$base/results
mkdir -p "$results" "$base/lower" "$base/plain"

for row in "${rows[@]}"; do
    row_title "$row" >/dev/null || {
        echo "bench: no row is named \"$row\"; rows.sh names them" >&2
        exit 2
    }
done

cleanup() {
    local m
    for m in "$base"/*/mnt "$base"/*/*/mnt "$disk"/*/mnt "$disk"/*/*/mnt "$disk/xfs"; do
        drop "$m"
    done
    rm -rf "$base" "$disk"
}

note() { printf 'bench: %s\n' "$*" >&2; }

# --- the variants ---

is_plain() { [[ $1 == native || $1 == floor || $1 == proot ]]; }

mount_of() {
    if [[ $1 == native || $1 == floor ]]; then echo "$area/plain"; else echo "$area/$1/mnt"; fi
}

drop() {
    umount "$1/dev" "$1/proc" 2>/dev/null || true
    if mountpoint -q "$1" 2>/dev/null; then
        umount "$1" 2>/dev/null || fusermount3 -u "$1" || true
    fi
}

# A new, empty upper under the variant. Fails where the variant cannot be had.
fresh() {
    local dir=$area/$1
    drop "$dir/mnt"
    rm -rf "$dir"
    mkdir -p "$dir/mnt" "$dir/upper" "$dir/work"
    local options=lowerdir=$lowers,upperdir=$dir/upper,workdir=$dir/work
    case $1 in
    native) [[ $row != image* ]] || enter_mount "$dir/mnt" "$options" ;;
    floor) [[ -x $tools/floor ]] ;;
    ptrace | hybrid) [[ -x $fuss ]] ;;
    overlayfs) [[ $(id -u) == 0 ]] && mount -t overlay overlay -o "$options" "$dir/mnt" 2>/dev/null ;;
    fuse-overlayfs) fuse-overlayfs -o "$options" "$dir/mnt" >/dev/null 2>&1 && mountpoint -q "$dir/mnt" ;;
    proot) command -v proot >/dev/null ;;
    *) return 1 ;;
    esac
}

# What an image's root is held against: the kernel's mount of it, to chroot into.
enter_mount() {
    [[ $(id -u) == 0 ]] && mount -t overlay overlay -o "$2" "$1" 2>/dev/null &&
        mount --bind /dev "$1/dev" && mount --bind /proc "$1/proc"
}

# Puts back what the row changed in the variant's view.
reset_row() {
    local changed
    changed=$(row_changes "$2")
    [[ -n $changed ]] || return 0
    if is_plain "$1"; then
        rm -rf "${area:?}/plain/$changed"
        [[ $2 == copyup-* || ! -e $area/lower/$changed ]] ||
            cp -a "$area/lower/$changed" "$area/plain/$changed"
    else
        fresh "$1"
    fi
    # No run shall pay for what the one before it left to be written.
    [[ $2 != copyup-* ]] || sync -f "$area/lower"
}

# Sets `run` to the command line of a variant and a row.
command_line() {
    local v=$1 m text
    m=$(mount_of "$v")
    run=(env "M=$m" "TOOLS=$tools" "INPUT=$base/input.tar" PYTHON=/usr/bin/python3)
    local union=("--mountpoint=$m" "--lowerdir=$lowers" "--upperdir=$area/$v/upper" --)
    case $v in
    floor) run+=("$tools/floor") ;;
    ptrace) run+=("$fuss" --backend=ptrace "${union[@]}") ;;
    hybrid) run+=("$fuss" --backend=hybrid "--shim=${BENCH_SHIM:-auto}" "${union[@]}") ;;
    proot) run+=(proot -b "$area/plain:$m") ;;
    esac
    if [[ $2 == image* ]]; then
        image_command "$v" "$2"
        return
    fi
    if is_plain "$v"; then text=$(plain_command "$2"); else text=$(row_command "$2"); fi
    run+=(sh -c "$text")
}

image_command() {
    local union=(--mountpoint=/ "--lowerdir=$lowers" "--upperdir=$area/$1/upper" -w / --)
    run=(env -i HOME=/root PATH=/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C)
    case $1 in
    native) run+=(chroot "$area/native/mnt") ;;
    *) run+=("$fuss" "--backend=$1" "${union[@]}") ;;
    esac
    run+=(/bin/bash -c "$(row_command "$2")")
}

# --- running ---

run_row() {
    local row=$1 v round start have=()
    prepare_row "$row" || return 0
    start=$SECONDS
    for v in "${variants[@]}"; do
        ! row_skips "$row" "$v" || continue
        if ! fresh "$v"; then
            note "$row: $v cannot be had here"
            continue
        fi
        command_line "$v" "$row"
        # One run that is not measured: caches are warm, git has refreshed its index.
        if [[ -z $(row_changes "$row") && $row != read && $row != spawn && $row != crowd && $v != proot ]]; then
            "${run[@]}" >/dev/null 2>&1 </dev/null || true
        fi
        have+=("$v")
    done
    for ((round = 1; round <= max_rounds; round++)); do
        ((round <= min_rounds || SECONDS - start < row_seconds)) || break
        for v in "${have[@]}"; do
            # PRoot is here to be named, and takes longer than all the others together.
            [[ $v != proot || $round == 1 ]] || continue
            reset_row "$v" "$row"
            command_line "$v" "$row"
            timeout "${BENCH_RUN_SECONDS:-90}" "$tools/measure" "$results/$row.$v" "${run[@]}" \
                2>>"$results/errors" || note "$row: $v failed (round $round)"
            # The next variant shall find the same free, warm pages.
            rm -f "$(mount_of "$v")/written" "$area/plain/written" "$area/$v/upper/written"
        done
    done
    for v in "${have[@]}"; do
        drop "$area/$v/mnt"
        rm -rf "${area:?}/$v/upper"
    done
    note "$row: $((round - 1)) rounds, $((SECONDS - start)) s"
}

trap cleanup EXIT
load_before=$(cut -d' ' -f1 /proc/loadavg)
[[ -x $fuss ]] || note "$fuss is not built: only the other variants run"
: >"$results/titles"
for row in "${rows[@]}"; do
    if [[ $row == memory ]]; then
        measure_memory
    else
        printf '%s\t%s\t%s\n' "$row" "$(row_title "$row")" "$(row_bar "$row")" >>"$results/titles"
        run_row "$row"
    fi
done

status=0
{
    printf '%s, %s CPUs, Linux %s, trees on %s, load %s before and %s after the run.\n' "$(date -u +%F)" \
        "$(nproc)" "$(uname -r)" "$(stat -f -c %T "$base")" "$load_before" "$(cut -d' ' -f1 /proc/loadavg)"
    echo 'Where the load was well above 1 something else ran beside it: trust the CPU ratios then.'
    echo
} >"$build/bench.md"
awk -v "dir=$results" -v "variants=${variants[*]}" -f "$here/report.awk" "$results/titles" \
    >>"$build/bench.md" || status=$?
write_gauges >>"$build/bench.md" || status=$?
cat "$build/bench.md"
if [[ -s $results/errors ]]; then
    note "what the runs said on their standard error (first lines):"
    head -n 12 "$results/errors" >&2
fi
if [[ -n ${BENCH_WRITE:-} ]]; then
    awk -v "table=$build/bench.md" '
        /<!-- bench:end -->/ { inside = 0 }
        !inside { print }
        /<!-- bench:begin -->/ { inside = 1; while ((getline line < table) > 0) print line }
    ' "$BENCH_WRITE" >"$build/bench.new"
    cat "$build/bench.new" >"$BENCH_WRITE"
    rm -f "$build/bench.new"
fi
[[ $status == 0 || -z ${BENCH_STRICT:-} ]]
