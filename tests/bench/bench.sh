#!/bin/bash
# bench.sh BUILD: what a union costs, row by row, as ratios to the same work on a plain directory.
# Every round runs each variant once, in turn, so that a noisy minute hits all of them alike; a cell is
# the median of its rounds. Variants that cannot be had here (no root, no FUSE, no PRoot) show "-".
#
#   BENCH_QUICK=1     smaller rows, under two minutes
#   BENCH_ROWS=...    only these rows      BENCH_VARIANTS=...  only these variants
#   BENCH_DIR=DIR     where the trees live. Default: /dev/shm where it has 4 GiB, else TMPDIR. A disk adds
#                     noise of its own: ext4 skips inodes deleted in the last seconds one by one, so that
#                     creating files right after removing some takes up to three times as long.
#   BENCH_SHIM=WAY    --shim of the hybrid column (default auto)
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

quick=${BENCH_QUICK:-}
if [[ -n $quick ]]; then
    files=3000 stats=10000 smalls=5000 finds=4 statuses=4 units=12 spawns=60 tars=1000 flats=1000
    reads=10 writes=4 row_seconds=6 min_rounds=1
else
    files=6000 stats=200000 smalls=40000 finds=20 statuses=20 units=40 spawns=400 tars=3000 flats=2500
    reads=20 writes=6 row_seconds=36 min_rounds=3
fi
mib=256
max_rounds=7

rows=(stat small find git make spawn tar rm read write)
variants=(native floor ptrace hybrid overlayfs fuse-overlayfs proot)
[[ -z ${BENCH_ROWS:-} ]] || read -ra rows <<<"$BENCH_ROWS"
[[ -z ${BENCH_VARIANTS:-} ]] || read -ra variants <<<"$BENCH_VARIANTS"

place=${BENCH_DIR:-${TMPDIR:-/tmp}}
if [[ -z ${BENCH_DIR:-} && -w /dev/shm ]] && (($(df -k --output=avail /dev/shm | tail -n 1) > 4194304)); then
    place=/dev/shm
fi
base=$(mktemp -d "$place/fuss-bench.XXXXXX")
results=$base/results
mkdir -p "$results"

cleanup() {
    local v
    for v in "${variants[@]}"; do
        drop_mount "$v"
    done
    rm -rf "$base"
}

note() { printf 'bench: %s\n' "$*" >&2; }

# --- what each row does; M is where the variant shows the tree ---

row_title() {
    case $1 in
    stat) echo "stat, $stats names, half missing" ;;
    small) echo "open, read, close, $smalls times" ;;
    find) echo "find, $files files, $finds times" ;;
    git) echo "git status, $statuses times" ;;
    make) echo "make, $units C files" ;;
    spawn) echo "fork and exec, $spawns times" ;;
    tar) echo "tar x, $tars files" ;;
    rm) echo "rm -rf, $flats files" ;;
    read) echo "read $mib MiB, $reads times" ;;
    write) echo "write $mib MiB, $writes times" ;;
    esac
}

# The shell text of a row; it runs as `sh -c` with M and TOOLS in the environment.
row_command() {
    case $1 in
    stat) echo "exec \"\$TOOLS/work\" stat \"\$M/tree\" $files $stats" ;;
    small) echo "exec \"\$TOOLS/work\" small \"\$M/tree\" $files $smalls" ;;
    find) echo "i=0; while [ \$i -lt $finds ]; do find \"\$M/tree\" -size +1k; i=\$((i+1)); done" ;;
    git) echo "i=0; while [ \$i -lt $statuses ]; do git -C \"\$M/repo\" status -s; i=\$((i+1)); done" ;;
    make) echo "exec make -s -C \"\$M/project\"" ;;
    spawn) echo "i=0; while [ \$i -lt $spawns ]; do /bin/true; i=\$((i+1)); done" ;;
    tar) echo "mkdir \"\$M/out\" && exec tar xf \"\$INPUT\" -C \"\$M/out\"" ;;
    rm) echo "exec rm -rf \"\$M/flat\"" ;;
    read) echo "exec \"\$TOOLS/work\" read \"\$M/data\" $reads" ;;
    write) echo "exec \"\$TOOLS/work\" write \"\$M/written\" $mib $writes" ;;
    esac
}

# The part of the tree that a row changes, put back before every run; empty for a row that only reads.
row_changes() {
    case $1 in
    make) echo project ;;
    tar) echo out ;;
    rm) echo flat ;;
    write) echo written ;;
    esac
}

# --- the variants ---

is_plain() { [[ $1 == native || $1 == floor || $1 == proot ]]; }

mount_of() {
    if [[ $1 == native || $1 == floor ]]; then echo "$base/plain"; else echo "$base/$1/mnt"; fi
}

drop_mount() {
    if mountpoint -q "$base/$1/mnt" 2>/dev/null; then
        umount "$base/$1/mnt" 2>/dev/null || fusermount3 -u "$base/$1/mnt" || true
    fi
}

# A new, empty upper under the variant. Fails where the variant cannot be had.
fresh() {
    local dir=$base/$1
    drop_mount "$1"
    rm -rf "$dir"
    mkdir -p "$dir/mnt" "$dir/upper" "$dir/work"
    local options=lowerdir=$base/lower,upperdir=$dir/upper,workdir=$dir/work
    case $1 in
    native) ;;
    floor) [[ -x $tools/floor ]] ;;
    ptrace | hybrid) [[ -x $fuss ]] ;;
    overlayfs) [[ $(id -u) == 0 ]] && mount -t overlay overlay -o "$options" "$dir/mnt" 2>/dev/null ;;
    fuse-overlayfs) fuse-overlayfs -o "$options" "$dir/mnt" >/dev/null 2>&1 && mountpoint -q "$dir/mnt" ;;
    proot) command -v proot >/dev/null ;;
    *) return 1 ;;
    esac
}

# Puts back what the row changed in the variant's view.
reset_row() {
    local changed
    changed=$(row_changes "$2")
    [[ -n $changed ]] || return 0
    if is_plain "$1"; then
        rm -rf "$base/plain/$changed"
        [[ ! -e $base/lower/$changed ]] || cp -a "$base/lower/$changed" "$base/plain/$changed"
    else
        fresh "$1"
    fi
}

# Sets `run` to the command line of a variant and a row.
command_line() {
    local v=$1 m
    m=$(mount_of "$v")
    run=(env "M=$m" "TOOLS=$tools" "INPUT=$base/input.tar")
    local union=("--mountpoint=$m" "--lowerdir=$base/lower" "--upperdir=$base/$v/upper" --)
    case $v in
    floor) run+=("$tools/floor") ;;
    ptrace) run+=("$fuss" --backend=ptrace "${union[@]}") ;;
    hybrid) run+=("$fuss" --backend=hybrid "--shim=${BENCH_SHIM:-auto}" "${union[@]}") ;;
    proot) run+=(proot -b "$base/plain:$m") ;;
    esac
    run+=(sh -c "$(row_command "$2")")
}

make_trees() {
    mkdir -p "$base/lower"
    "$tools/work" tree "$base/lower/tree" "$files"
    "$tools/work" project "$base/lower/project" "$units"
    "$tools/work" flat "$base/lower/flat" "$flats"
    "$tools/work" flat "$base/lower/repo" 1500
    "$tools/work" fill "$base/lower/data" "$mib"
    "$tools/work" flat "$base/packed" "$tars"
    tar cf "$base/input.tar" -C "$base/packed" .
    (
        cd "$base/lower/repo"
        git init -q .
        git add .
        git -c user.name=bench -c user.email=bench@localhost commit -q -m tree
    )
    cp -a "$base/lower" "$base/plain"
    # The same pages for all: two copies of a file read up to a fifth apart, by where they lie in memory.
    ln -f "$base/lower/data" "$base/plain/data"
}

# --- running ---

run_row() {
    local row=$1 v round start=$SECONDS have=()
    for v in "${variants[@]}"; do
        if ! fresh "$v"; then
            note "$row: $v cannot be had here"
            continue
        fi
        command_line "$v" "$row"
        # One run that is not measured: caches are warm, git has refreshed its index.
        if [[ -z $(row_changes "$row") && $row != read && $row != spawn && $v != proot ]]; then
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
            rm -f "$(mount_of "$v")/written" "$base/plain/written" "$base/$v/upper/written"
        done
    done
    note "$row: $((round - 1)) rounds, $((SECONDS - start)) s"
}

trap cleanup EXIT
load_before=$(cut -d' ' -f1 /proc/loadavg)
[[ -x $fuss ]] || note "$fuss is not built: only the other variants run"
make_trees
for row in "${rows[@]}"; do
    run_row "$row"
done

: >"$results/titles"
for row in "${rows[@]}"; do
    printf '%s\t%s\n' "$row" "$(row_title "$row")" >>"$results/titles"
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
