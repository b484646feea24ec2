# Helpers for the end-to-end tests. A test builds layers in $L1 (topmost lower), $L2, $U (upper),
# then runs commands in the union with fuss_run, ops or sh_in. Every lower is hashed before the
# first run and after the test: a changed lower fails the test, whatever else it checked.
#
# E2E_BACKEND  hybrid | ptrace | oracle (a real kernel overlayfs mount in the place of fuss: root,
#              by hand; proves a test right; E2E_ORACLE_OPTIONS adds mount options)
# E2E_STYLE    chardev | fileprefix
# E2E_USER     root | user (an ordinary user: $E2E_USER_NAME)
# E2E_LINKAGE  dynamic | static (glibc) | musl (static): how the programs in the union are linked
# E2E_SHIM     --shim for hybrid (default: none given)
# E2E_BIN      directory with fuss and tests/ (the probes), readable for everybody
#
# shellcheck shell=bash disable=SC2034,SC2154

: "${E2E_BACKEND:=ptrace}" "${E2E_STYLE:=chardev}" "${E2E_USER:=root}" "${E2E_LINKAGE:=dynamic}"
: "${E2E_USER_NAME:=fusstest}"
E2E_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${E2E_BIN:=$E2E_ROOT/build}"
[ "$E2E_BACKEND" = oracle ] && E2E_STYLE=chardev
[ "$(id -u)" = 0 ] || E2E_USER=user

FUSS=$E2E_BIN/fuss
PROG=$E2E_BIN/tests/$E2E_LINKAGE
TREEHASH=$E2E_BIN/tests/static/treehash

# A program gets the shim of hybrid at its first call that it could answer, and not when it pays.
[ "$E2E_BACKEND" != hybrid ] || export FUSS_SHIM_AFTER=1

# Nothing of the caller's own session may colour a result.
unset MAKEFLAGS MAKELEVEL MFLAGS MAKEOVERRIDES PYTHONDONTWRITEBYTECODE GIT_DIR GIT_WORK_TREE
export LC_ALL=C

setup() {
    T=$(mktemp -d "${E2E_TMP:-/tmp}/fe.XXXXXX")
    chmod 755 "$T"
    T=$(cd "$T" && pwd -P)
    L1=$T/l1 L2=$T/l2 U=$T/u W=$T/w M=$T/m
    mkdir "$L1" "$L2" "$U" "$W" "$M" "$T/home" "$T/seals"
    LOWER=$L1:$L2 UPPER=$U MOUNT=$M
    FUSS_OPTS=() FUSS_ENV=() RUN_CWD=/ RUN_TIMEOUT=${E2E_TIMEOUT:-40} KEEP_OWNER='' FUSS_FG=''
    if type fixture >/dev/null 2>&1; then
        fixture
    fi
}

teardown() {
    local bad=0
    check_lowers || bad=1
    kill_leftovers
    rm -rf --one-file-system "$T" 2>/dev/null || {
        chattr -R -i "$T" 2>/dev/null || true
        chmod -R u+rwx "$T" 2>/dev/null || true
        rm -rf --one-file-system "$T"
    }
    return $bad
}

# Ends what a test left running in its scratch directory (found by the fuss processes' arguments,
# whose death ends their trees).
kill_leftovers() {
    local pid
    for pid in $(pgrep -f -- "$T/" || true); do
        [ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ] || kill -9 "$pid" 2>/dev/null || true
    done
}

# ---- layers ------------------------------------------------------------------------------------

# mk PATH [CONTENT]: a file with its parents.
mk() {
    mkdir -p "$(dirname "$1")"
    printf '%s' "${2-}" >"$1"
}

# old PATH...: a fixed old time with nanoseconds, symlinks themselves.
old() {
    touch -h -d '2001-02-03 04:05:06.123456789 UTC' "$@"
}

# wh LAYER NAME: a whiteout in the style under test.
wh() {
    mkdir -p "$(dirname "$1/$2")"
    if [ "$E2E_STYLE" = fileprefix ]; then
        : >"$(dirname "$1/$2")/.wh.$(basename "$2")"
    else
        mknod "$1/$2" c 0 0
    fi
}

# opq DIR: marks a directory of a layer opaque.
opq() {
    mkdir -p "$1"
    if [ "$E2E_STYLE" = fileprefix ]; then
        : >"$1/.wh..wh..opq"
    elif [ "$E2E_USER" = root ] || [ "$E2E_BACKEND" = oracle ]; then
        setfattr -n trusted.overlay.opaque -v y "$1"
    else
        setfattr -n user.overlay.opaque -v y "$1"
    fi
}

# The lowers in $LOWER, one a line, with \: undone.
lower_list() {
    local s=${LOWER//'\:'/$'\001'}
    s=${s//:/$'\n'}
    printf '%s\n' "${s//$'\001'/:}"
}

seal_name() {
    printf '%s/seals/%s' "$T" "${1//\//%}"
}

hash_lower() {
    "$TREEHASH" -x "$UPPER" -x "$W" -x "$T/home" -x "$T/seals" -x "$T/m" "$1"
}

# Hands the scratch layers to the user under test and hashes every lower not hashed yet.
# A lower outside the scratch directory is hashed unless it is a whole system tree.
seal_lowers() {
    local dir file
    if [ "$E2E_USER" = user ] && [ "$(id -u)" = 0 ] && [ ! -e "$T/seals/owned" ]; then
        : >"$T/seals/owned"
        [ -n "$KEEP_OWNER" ] || chown -hR "$E2E_USER_NAME:" "$T"
        chown "$E2E_USER_NAME:" "$T/home"
    fi
    while IFS= read -r dir; do
        file=$(seal_name "$dir")
        if [ -d "$dir" ] && [ ! -e "$file" ] && [ "$dir" != / ] && [ "$dir" != /usr ]; then
            hash_lower "$dir" >"$file"
            printf '%s' "$dir" >"$file.path"
        fi
    done < <(lower_list)
}

# After a test changed a lower itself, on purpose: hash again at the next run.
unseal() {
    check_lowers
    rm -f "$T"/seals/%*
}

check_lowers() {
    local file dir bad=0
    for file in "$T"/seals/%*.path; do
        [ -e "$file" ] || continue
        dir=$(cat "$file")
        if ! hash_lower "$dir" | diff "${file%.path}" - >"$T/seals/diff"; then
            echo "A LOWER LAYER WAS CHANGED: $dir"
            head -20 "$T/seals/diff"
            bad=1
        fi
    done
    return $bad
}

# ---- running -----------------------------------------------------------------------------------

# Sets AS to the words that run a command as the user under test.
as_user() {
    AS=(env "HOME=$T/home" "${FUSS_ENV[@]}")
    if [ "$E2E_USER" = user ] && [ "$(id -u)" = 0 ]; then
        AS=(setpriv "--reuid=$E2E_USER_NAME" "--regid=$E2E_USER_NAME" --init-groups "${AS[@]}")
    fi
}

# fuss_argv COMMAND ARG...: sets ARGV to the words that run the command in the union; $FUSS_FG makes
# it keep the terminal.
fuss_argv() {
    local data=lowerdir=$LOWER args
    seal_lowers
    as_user
    ARGV=(timeout ${FUSS_FG:+--foreground} -k 3 "$RUN_TIMEOUT")
    if [ "$E2E_BACKEND" != oracle ]; then
        args=("--backend=$E2E_BACKEND" "--mountpoint=$MOUNT" "--lowerdir=$LOWER"
            "--whiteout=$E2E_STYLE")
        [ -z "${E2E_SHIM:-}" ] || [ "$E2E_BACKEND" != hybrid ] || args+=("--shim=$E2E_SHIM")
        [ -z "$UPPER" ] || args+=("--upperdir=$UPPER")
        ARGV+=("${AS[@]}" "$FUSS" "${args[@]}" "${FUSS_OPTS[@]}" -- "$@")
        return
    fi
    if [ -n "$UPPER" ]; then
        data+=,upperdir=$UPPER,workdir=$W
    elif [ "$(lower_list | wc -l)" = 1 ]; then
        mkdir -p "$T/none"
        data=lowerdir=$LOWER:$T/none
    fi
    data+=${E2E_ORACLE_OPTIONS:+,$E2E_ORACLE_OPTIONS}
    # shellcheck disable=SC2016
    ARGV+=(unshare -m --propagation private bash -c '
        mkdir -p "$1"
        mount -t overlay overlay -o "$2" "$1" || exit 125
        cd "$3" || exit 99
        shift 3
        exec "$@"' - "$MOUNT" "$data" "$RUN_CWD" "${AS[@]}" "$@")
}

# fuss_run COMMAND ARG...: the command in the union, from directory $RUN_CWD.
fuss_run() {
    fuss_argv "$@"
    (
        [ "$E2E_BACKEND" = oracle ] || cd "$RUN_CWD" || exit 99
        exec "${ARGV[@]}" 3>&-
    )
}

# fuss_bare ARG...: fuss itself with the arguments as given, as the user under test.
fuss_bare() {
    seal_lowers
    as_user
    (
        cd "$RUN_CWD" || exit 99
        exec timeout -k 3 "$RUN_TIMEOUT" "${AS[@]}" "$FUSS" "$@" 3>&-
    )
}

# sh_in SCRIPT [ARG...]: a POSIX shell in the union, cwd at its root; busybox-static when the
# linkage under test is static. $M is set for the script.
sh_in() {
    local shell=(/bin/bash --norc) path=$PATH
    if [ "$E2E_LINKAGE" != dynamic ]; then
        shell=("$E2E_BIN/tests/bbin/busybox" sh)
        path=$E2E_BIN/tests/bbin:$PATH
    fi
    fuss_run env "PATH=$path" "M=$MOUNT" "T=$T" "${shell[@]}" -c "cd \"\$M\" || exit 99
$1" sh "${@:2}"
}

# ops <<EOF: runs the operations of the ops probe at the union's root, fails when a result differs.
ops() {
    fuss_run "$PROG/ops" -C "${OPS_CWD:-$MOUNT}" "$@"
}

# probe NAME ARG...: a probe program.
probe() {
    fuss_run "$PROG/$1" "${@:2}"
}

# ---- judging -----------------------------------------------------------------------------------

# is GOT WANT [WHAT]
is() {
    [ "$1" = "$2" ] && return 0
    printf '%s:\n  want: %s\n  got:  %s\n' "${3:-differs}" "$2" "$1"
    return 1
}

# has TEXT PATTERN: extended regular expression.
has() {
    printf '%s\n' "$1" | grep -Eq -- "$2" && return 0
    printf 'no match for: %s\n in: %s\n' "$2" "$1"
    return 1
}

# expect STATUS COMMAND...: runs it; $output holds what it printed (both streams).
expect() {
    local want=$1
    shift
    run "$@"
    [ "$status" = "$want" ] && return 0
    printf 'exit status: want %s, got %s\n%s\n' "$want" "$status" "$output"
    return 1
}

# shows SCRIPT <<EOF: the script's output in the union must be the text on stdin.
shows() {
    local want got
    want=$(cat)
    got=$(sh_in "$1" 2>&1 </dev/null) || {
        printf 'exit %s\n%s\n' "$?" "$got"
        return 1
    }
    is "$got" "$want" "output of: $1"
}

# refused STATUS PATTERN COMMAND...: fails with this status and exactly one line, which matches.
refused() {
    expect "$1" "${@:3}" || return 1
    is "$(printf '%s\n' "$output" | wc -l)" 1 "lines of: $output" || return 1
    has "$output" "$2"
}

# upper_is <<EOF: the upper as a reader of markers sees it ("W name" whiteout, else type letter and
# name; opaque marks are left out, see is_opaque).
upper_is() {
    is "$("$TREEHASH" -l "$UPPER" | grep -v "^O " | sort)" "$(sort)" "upper"
}

is_opaque() {
    "$TREEHASH" -l "$UPPER" | grep -qxF "O $1" && return 0
    echo "not opaque in the upper: $1"
    return 1
}

not_opaque() {
    ! is_opaque "$1" >/dev/null || {
        echo "opaque in the upper: $1"
        return 1
    }
}
