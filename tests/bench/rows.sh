#!/bin/bash
# rows.sh, sourced by bench.sh: what each row does, what it needs, what it changes, its bar.
# An *area* is a directory with lower/ (or layers 1 to N), plain/ (the same content, for native) and
# a directory for each variant. Rows that do not care where their files lie share "$base".
# shellcheck disable=SC2034,SC2154 # shared with bench.sh

if [[ -n ${BENCH_QUICK:-} ]]; then
    files=3000 stats=10000 statics=5000 smalls=4000 lists=1000 finds=2 greps=1 statuses=3 units=8
    spawns=100 tars=800 flats=800 revisions=400 starts=2 reads=1 writes=2 crowd=64 each=500
    spots=4000 idlers=50 row_seconds=1 min_rounds=1 mib=256 copied=64
else
    files=6000 stats=200000 statics=100000 smalls=50000 lists=10000 finds=10 greps=4 statuses=20 units=40
    spawns=1000 tars=3000 flats=2500 revisions=1500 starts=5 reads=5 writes=6 crowd=64 each=10000
    spots=40000 idlers=500 row_seconds=20 min_rounds=3 mib=1024 copied=256
fi

rows=(stat stat-musl stat-static stat-go small fopen opendir find du ls grep git checkout tar cp rm
    make python spawn read write copyup-ext4 copyup-xfs crowd layers-1 layers-5 layers-20 layers-60
    wide-10 wide-1000 wide-100000 image-session image-start image-ls memory)

row_title() {
    case $1 in
    stat) echo "stat, $stats names, half missing" ;;
    stat-musl) echo "the same, static musl, $statics" ;;
    stat-static) echo "the same, static glibc, $statics" ;;
    stat-go) echo "the same, Go, $statics" ;;
    small) echo "open, read, close, $smalls times" ;;
    fopen) echo "fopen, fgets, fclose, $smalls times" ;;
    opendir) echo "opendir, readdir, $lists times" ;;
    find) echo "find, $files files, $finds times" ;;
    du) echo "du, $files files, $finds times" ;;
    ls) echo "ls -lR, $files files, $finds times" ;;
    grep) echo "grep -r, $files files, $greps times" ;;
    git) echo "git status, $statuses times" ;;
    checkout) echo "git checkout, $revisions files, half differ" ;;
    make) echo "make -j2, $units C files" ;;
    python) echo "python start, 24 modules, $starts times" ;;
    spawn) echo "fork and exec of /bin/true, $spawns times" ;;
    tar) echo "tar x, $tars files" ;;
    cp) echo "cp -a, $flats files" ;;
    rm) echo "rm -rf, $flats files" ;;
    read) echo "read $mib MiB, $reads times" ;;
    write) echo "write 256 MiB, $writes times" ;;
    copyup-ext4) echo "first write to $copied MiB of a lower, ext4; native is cp" ;;
    copyup-xfs) echo "the same, xfs with reflink; native is cp --reflink=never" ;;
    crowd) echo "$crowd static programs at once, $each stats each" ;;
    layers-*) echo "stat, ${1#layers-} layers, $spots names" ;;
    wide-*) echo "stat, a directory of ${1#wide-}, $spots names" ;;
    image-session) echo "bash, python and gcc in an image; native is a chroot into the kernel's mount" ;;
    image-start) echo "the same, $spawns times /bin/true" ;;
    image-ls) echo "the same, ls -lR of all of it" ;;
    memory) echo "memory, $idlers idle processes" ;;
    *) return 1 ;;
    esac
}

# The bar of hybrid, as a ratio to native; "-" where growth is judged instead (gauges.sh).
row_bar() {
    case $1 in
    stat | find | du | ls | grep) echo 1.35 ;;
    stat-* | small | fopen | opendir | git | crowd) echo 1.40 ;;
    tar | cp | spawn) echo 1.30 ;;
    checkout) echo 1.20 ;;
    rm) echo 2.00 ;;
    make) echo 1.08 ;;
    image-session) echo 1.15 ;;
    image-start) echo 1.40 ;;
    python | copyup-ext4) echo 1.10 ;;
    copyup-xfs) echo 0.10 ;;
    read | write) echo 1.03 ;;
    *) echo - ;;
    esac
}

# The same work many times over: $1 times the shell command $2.
times() { echo "i=0; while [ \$i -lt $1 ]; do $2 || exit 1; i=\$((i+1)); done"; }

# A user's few minutes in an image: files made and looked at, a program compiled and run, scripts.
image_session() {
    cat <<'TEXT'
set -e
rm -rf /tmp/session && mkdir /tmp/session && cd /tmp/session
for i in 1 2 3 4 5 6 7 8; do
    printf '#include <stdio.h>\n#include <stdlib.h>\nint f%s(int x){return printf("%%d",x)+rand();}\n' $i >f$i.c
    gcc -O2 -c f$i.c
done
echo 'int f1(int); int main(void){return f1(1) < 0;}' >main.c
gcc -O2 main.c f*.o -o program
./program >out
for i in 1 2 3; do
    python3 -c 'import json, argparse, subprocess, unittest, asyncio, http.client, sqlite3
import os; print(sum(len(f) for _, _, f in os.walk("/usr/lib/python3")))' >>out
done
for i in $(seq 40); do grep -c root /etc/passwd >>out; done
ls -lR /etc >listing
find /usr/include -name '*.h' | sort | head -n 50 | xargs cat | wc >>out
tar cf - /etc 2>/dev/null | gzip -1 >etc.tgz
TEXT
}

# The shell text of a row; it runs as `sh -c` with M, TOOLS, INPUT and PYTHON in the environment.
row_command() {
    local modules='import json, argparse, subprocess, email.mime.text, http.client, unittest,
        logging.handlers, xml.dom.minidom, sqlite3, ctypes, asyncio, csv, decimal, difflib, ftplib,
        gzip, tarfile, zipfile, tempfile, shutil, urllib.request, uuid, datetime, multiprocessing'
    case $1 in
    stat) echo "exec \"\$TOOLS/work\" stat \"\$M/tree\" $files $stats" ;;
    stat-musl) echo "exec \"\$TOOLS/work-musl\" stat \"\$M/tree\" $files $statics" ;;
    stat-static) echo "exec \"\$TOOLS/work-static\" stat \"\$M/tree\" $files $statics" ;;
    stat-go) echo "exec \"\$TOOLS/statloop\" \"\$M/tree\" $files $statics" ;;
    small) echo "exec \"\$TOOLS/work\" small \"\$M/tree\" $files $smalls" ;;
    fopen) echo "exec \"\$TOOLS/work\" fopen \"\$M/tree\" $files $smalls" ;;
    opendir) echo "exec \"\$TOOLS/work\" list \"\$M/tree\" $files $lists" ;;
    find) times "$finds" "find \"\$M/tree\" -size +1k" ;;
    du) times "$finds" "du -s \"\$M/tree\"" ;;
    ls) times "$finds" "ls -lR \"\$M/tree\"" ;;
    # The output is /dev/null, where grep would stop at the first match; there is none.
    grep) times "$greps" "! grep -r 'no such words' \"\$M/tree\"" ;;
    git) times "$statuses" "git -C \"\$M/repo\" status -s" ;;
    checkout) echo "exec git -C \"\$M/revisions\" checkout -q other" ;;
    make) echo "exec make -s -j2 -C \"\$M/project\"" ;;
    python) times "$starts" "PYTHONHOME=\"\$M/python\" \"\$PYTHON\" -B -c '${modules//$'\n'/}'" ;;
    spawn) echo "cd \"\$M\" && $(times "$spawns" /bin/true)" ;;
    tar) echo "mkdir \"\$M/out\" && exec tar xf \"\$INPUT\" -C \"\$M/out\"" ;;
    cp) echo "exec cp -a \"\$M/flat\" \"\$M/copy\"" ;;
    rm) echo "exec rm -rf \"\$M/flat\"" ;;
    read) echo "exec \"\$TOOLS/work\" read \"\$M/data\" $reads" ;;
    write) echo "exec \"\$TOOLS/work\" write \"\$M/written\" 256 $writes" ;;
    copyup-*) echo "echo more >>\"\$M/data\"" ;;
    crowd)
        echo "i=0; while [ \$i -lt $crowd ]; do \"\$TOOLS/work-musl\" stat \"\$M/tree\" $files $each &"
        echo "i=\$((i+1)); done; wait"
        ;;
    layers-*) echo "exec \"\$TOOLS/work\" stat \"\$M/tree\" 1200 $spots" ;;
    image-session) image_session ;;
    image-start) times "$spawns" /bin/true ;;
    image-ls) echo "exec ls -lR /bin /boot /etc /home /lib /media /mnt /opt /root /sbin /srv /usr /var" ;;
    wide-*) echo "exec \"\$TOOLS/work\" names \"\$M/wide${1#wide-}\" ${1#wide-} $spots" ;;
    esac
}

# What native and floor do where that is not the same: a copy-up is held against cp.
plain_command() {
    case $1 in
    copyup-ext4) echo "exec cp \"\$M/../lower/data\" \"\$M/data\"" ;;
    copyup-xfs) echo "exec cp --reflink=never \"\$M/../lower/data\" \"\$M/data\"" ;;
    *) row_command "$1" ;;
    esac
}

# The part of the tree that a row changes, put back before every run; empty for a row that only reads.
row_changes() {
    case $1 in
    checkout) echo revisions ;;
    make) echo project ;;
    tar) echo out ;;
    cp) echo copy ;;
    rm) echo flat ;;
    write) echo written ;;
    copyup-*) echo data ;;
    esac
}

# PRoot is no union, and takes minutes where it is asked often by many.
row_skips() {
    case $1:$2 in
    image*:native | image*:ptrace | image*:hybrid) return 1 ;;
    image*) return 0 ;;
    copyup-*:proot | crowd:proot | layers-*:proot | wide-*:proot) return 0 ;;
    *) return 1 ;;
    esac
}

# --- inputs, made when the first row asks for them ---

in_repo() { git -c user.name=bench -c user.email=bench@localhost -C "$repo" "$@"; }

new_repo() {
    repo=$1
    # Old files, and no ctime in the index: a copy of the tree costs git no more than the tree.
    find "$repo" -exec touch -d '2 hours ago' {} +
    git -C "$repo" init -q
    in_repo config core.trustctime false
    in_repo config core.checkStat minimal
    in_repo config gc.auto 0
    in_repo checkout -q -b first
    in_repo add .
    in_repo commit -q -m first
}

make_revisions() {
    "$tools/work" flat "$1" "$revisions"
    new_repo "$1"
    in_repo checkout -q -b other
    local i
    for ((i = 0; i < revisions; i += 2)); do
        echo "other content" >"$1/dir$((i % 25))/file$i"
    done
    in_repo commit -q -a -m other
    in_repo checkout -q first
    find "$1" -path "$1/.git" -prune -o -type f -exec touch -d '1 hour ago' {} +
    in_repo status >/dev/null
}

make_part() {
    local to=$base/lower/$1
    case $1 in
    tree) "$tools/work" tree "$to" "$files" ;;
    project) "$tools/work" project "$to" "$units" ;;
    flat) "$tools/work" flat "$to" "$flats" ;;
    repo) "$tools/work" flat "$to" 1500 && new_repo "$to" ;;
    revisions) make_revisions "$to" ;;
    python)
        local library
        library=$(/usr/bin/python3 -S -c 'import os; print(os.path.dirname(os.__file__))')
        mkdir -p "$to/lib"
        cp -a "$library" "$to/lib/"
        rm -rf "$to"/lib/*/{test,idlelib,tkinter,lib2to3}
        ;;
    data) "$tools/work" fill "$to" "$mib" ;;
    packed)
        "$tools/work" flat "$base/packed" "$tars"
        tar cf "$base/input.tar" -C "$base/packed" .
        return
        ;;
    wide*) "$tools/work" wide "$to" "${1#wide}" ;;
    esac
    case $1 in
    # The same pages for all: two copies of a file read up to a fifth apart, by where they lie in memory.
    data) ln "$to" "$base/plain/$1" ;;
    *) cp -a "$to" "$base/plain/$1" ;;
    esac
}

need() {
    [[ -e $base/lower/$1 || -e $base/$1 ]] || make_part "$1"
}

make_layers() {
    [[ ! -d $area/plain ]] || return 0
    local i
    "$tools/work" layers "$area" 1200 "$1"
    mkdir -p "$area/plain"
    for ((i = 1; i <= $1; i++)); do
        cp -a "$area/$i/." "$area/plain/"
    done
}

lend_xfs() {
    [[ $(id -u) == 0 ]] || refuse "a loop mount needs root" || return 1
    command -v mkfs.xfs >/dev/null || refuse "mkfs.xfs (package xfsprogs) is missing" || return 1
    mkdir -p "$disk" "$area"
    truncate -s 3G "$disk/xfs.img"
    mkfs.xfs -q -m reflink=1 "$disk/xfs.img" >/dev/null 2>&1 || refuse "mkfs.xfs failed" || return 1
    mount -o loop "$disk/xfs.img" "$area" 2>/dev/null || refuse "no loop mount of xfs here"
}

make_copied() {
    mkdir -p "$area/lower" "$area/plain"
    "$tools/work" fill "$area/lower/data" "$copied"
    sync -f "$area/lower/data"
}

# Says why the row at hand cannot be measured; fails always.
refuse() {
    echo "$1" >"$results/$row.why"
    note "$row: not measured: $1"
    return 1
}

# Sets `area` and `lowers` of a row and makes what it needs; fails where it cannot be had.
prepare_row() {
    local i
    area=$base
    case $1 in
    stat* | small | fopen | opendir | find | du | ls | grep | crowd | memory) need tree ;;
    git) need repo ;;
    checkout) need revisions ;;
    make) need project ;;
    python) [[ -x /usr/bin/python3 ]] || refuse "no /usr/bin/python3" || return 1 && need python ;;
    tar) need packed ;;
    cp | rm) need flat ;;
    read) need data ;;
    wide-*) need "wide${1#wide-}" ;;
    copyup-ext4)
        area=$disk
        mkdir -p "$area"
        [[ $(stat -f -c %T "$area") == ext2/ext3 ]] || refuse "$area is not on ext4" || return 1
        make_copied
        ;;
    copyup-xfs)
        area=$disk/xfs
        lend_xfs || return 1
        make_copied
        ;;
    layers-*)
        area=$base/$1
        make_layers "${1#layers-}"
        ;;
    image*)
        [[ -d ${BENCH_IMAGE%%:*} ]] || refuse "BENCH_IMAGE names no root tree" || return 1
        area=$base/image
        mkdir -p "$area"
        ;;
    esac
    lowers=$area/lower
    [[ $1 != image* ]] || lowers=$BENCH_IMAGE
    if [[ $1 == layers-* ]]; then
        lowers=$area/1
        for ((i = 2; i <= ${1#layers-}; i++)); do
            lowers+=:$area/$i
        done
    fi
}
