#!/bin/bash
# Runs what `make test` promises and sums it up: unit programs, checks, and the end-to-end files in
# a matrix of backend x style x user x linkage. The last line is "N passed, N failed[, N skipped]".
set -euo pipefail
cd "$(dirname "$0")/.."
unset MAKEFLAGS MAKELEVEL MFLAGS MAKEOVERRIDES

usage() {
    cat <<'USAGE'
usage: scripts/run-tests.sh [--build DIR] [--unit] [--checks] [--e2e] [--full]
                            [--file GLOB] [--combo BACKEND-STYLE-USER-LINKAGE]... [--jobs N]
USAGE
}

# One block, so that bash has read all of it before it starts: the file may change meanwhile.
{
BUILD=build UNIT='' CHECKS='' E2E='' FULL='' FILES='*' JOBS=2 COMBOS=()
args=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    --build) BUILD=$2 && shift ;;
    --unit) UNIT=1 ;;
    --checks) CHECKS=1 ;;
    --e2e) E2E=1 ;;
    --full) FULL=1 ;;
    --file) FILES=${2%.bats} && shift ;;
    --combo) COMBOS+=("$2") && shift ;;
    --jobs) JOBS=$2 && shift ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done

# The end-to-end matrix needs root for half of its rows.
if [ -n "$E2E" ] && [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then
    exec sudo -n env "PATH=$PATH" "$0" "${args[@]}"
fi

passed=0 failed=0 skipped=0
OUT=$(mktemp -d /tmp/fuss-test.XXXXXX)
chmod 755 "$OUT"
trap 'rm -rf "$OUT"' EXIT
started=$SECONDS

# Every pair of values of any two columns occurs in one of the rows, "stops" (the ptrace backend
# where the kernel lacks notices) with each style, user and linkage but musl. A file marked
# "# runs: light" runs in the rows of that name alone: each backend, dynamic and static; one marked
# "# runs: shim" in all rows of the hybrid backend and in one of each other kind (long ones, too).
PAIRWISE=(
    hybrid-chardev-root-dynamic:light:shim
    ptrace-chardev-user-static:light:shim
    ptrace-fileprefix-user-dynamic
    hybrid-fileprefix-root-static:shim
    ptrace-fileprefix-root-musl
    hybrid-chardev-user-musl:shim
    stops-fileprefix-user-dynamic
    stops-chardev-root-static:shim
)

matrix() {
    local b s u l
    if [ ${#COMBOS[@]} -gt 0 ]; then
        printf '%s:light:shim\n' "${COMBOS[@]}"
    elif [ -n "$FULL" ]; then
        for b in hybrid ptrace stops; do for s in chardev fileprefix; do
            for u in root user; do for l in dynamic static musl; do
                echo "$b-$s-$u-$l:light:shim"
            done; done
        done; done
    else
        printf '%s\n' "${PAIRWISE[@]}"
    fi
}

run_unit() {
    local prog log p f n=0
    mkdir "$OUT/unit"
    for prog in "$BUILD"/unit/test_* "$BUILD"/unit-asan/test_*; do
        case $prog in *.d) continue ;; esac
        [ ! -f "$prog" ] || printf '%s\0' "$prog"
    done >"$OUT/programs"
    # shellcheck disable=SC2016
    xargs -0 -r -n 1 -P "$JOBS" bash -c '
        log=$0/$(basename "$(dirname "$1")").$(basename "$1")
        timeout -k 5 300 "$1" >"$log" 2>&1 || echo "exit $?" >"$log.failed"' "$OUT/unit" \
        <"$OUT/programs" || true
    for log in "$OUT"/unit/*; do
        case $log in *.failed) continue ;; esac
        [ -e "$log" ] || continue
        n=$((n + 1)) f=0
        p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | head -1)
        if [ -e "$log.failed" ]; then
            f=$(sed -n 's/^\[  FAILED  \] [^0-9]*\([0-9]*\) test.*/\1/p' "$log" | head -1)
            f=${f:-1}
            [ "$f" -gt 0 ] || f=1
            echo "FAILED: $(basename "$log"): $(cat "$log.failed")"
            grep -av '^\[ *\(RUN\|OK\) ' "$log" | tail -30 | sed 's/^/    /'
        fi
        passed=$((passed + ${p:-0})) failed=$((failed + f))
    done
    echo "unit: $n programs"
}

run_checks() {
    local check log=$OUT/check.log
    for check in scripts/check-*.sh; do
        if "$check" "$BUILD" >"$log" 2>&1; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAILED: $check"
            tail -30 "$log" | sed 's/^/    /'
        fi
    done
}

# The machine's part of the matrix: the user, and a copy of the programs that anybody can read.
prepare() {
    local name=fusstest
    if [ "$(id -u)" = 0 ]; then
        id "$name" >/dev/null 2>&1 || useradd --system --user-group --no-create-home "$name"
    fi
    mkdir "$OUT/bin" "$OUT/results"
    [ ! -x "$BUILD/fuss" ] || cp "$BUILD/fuss" "$OUT/bin/"
    cp -a "$BUILD/tests" "$OUT/bin/tests"
    rm -rf "$OUT/bin/tests/bbin"
    mkdir "$OUT/bin/tests/bbin"
    cp "$BUILD/tests/bbin/busybox" "$OUT/bin/tests/bbin/"
    "$OUT/bin/tests/bbin/busybox" --install -s "$OUT/bin/tests/bbin"
    # A real project for the build test; without it the test builds this one.
    [ -d "$BUILD/source/zlib" ] || scripts/get-source.sh zlib "$BUILD/source/zlib" 2>/dev/null || true
    if [ -d "$BUILD/source/zlib" ]; then
        mkdir "$OUT/bin/source"
        cp -a "$BUILD/source/zlib" "$OUT/bin/source/"
    fi
    chmod -R a+rX "$OUT/bin"
}

# One job: one file in one combination. Its TAP goes to results/.
# shellcheck disable=SC2317 # called through xargs
run_job() {
    local combo=$1 file=$2 tags=() b s u l
    local log
    log=$OUT/results/$combo.$(basename "$file" .bats)
    IFS=- read -r b s u l <<<"$combo"
    [ "$b" = oracle ] && tags+=('!fuss')
    [ "$u" = user ] && tags+=('!root')
    [ "$u" = root ] && tags+=('!user')
    [ "$l" = dynamic ] || tags+=('!dynamic')
    [ "$s" = chardev ] || tags+=('!chardev')
    [ "$s" = fileprefix ] || tags+=('!fileprefix')
    if [ "$b" = stops ]; then
        b=ptrace
        export FUSS_TRAPS=ptrace
    fi
    local filter
    filter=$(
        IFS=,
        echo "${tags[*]}"
    )
    E2E_BACKEND=$b E2E_STYLE=$s E2E_USER=$u E2E_LINKAGE=$l E2E_BIN=$OUT/bin \
        timeout -k 5 "${E2E_FILE_TIMEOUT:-400}" \
        bats --tap ${filter:+--filter-tags "$filter"} "$file" >"$log" 2>&1 </dev/null ||
        echo "# exit $?" >>"$log"
}

count_results() {
    local log plan good bad skip lost
    for log in "$OUT"/results/*; do
        [ -e "$log" ] || continue
        plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$log" | head -1)
        skip=$(grep -c '^ok .* # skip' "$log" || true)
        good=$(($(grep -c '^ok ' "$log" || true) - skip))
        bad=$(grep -c '^not ok ' "$log" || true)
        lost=$((${plan:-1} - good - bad - skip))
        [ $lost -gt 0 ] || lost=0
        passed=$((passed + good)) failed=$((failed + bad + lost)) skipped=$((skipped + skip))
        if [ $((bad + lost)) -gt 0 ]; then
            echo "FAILED in $(basename "$log"): $bad failed, $lost without a result"
            awk '/^ok /{show=0} /^not ok /{show=1} show||/^# (bats|exit|Bats)/' "$log" | head -60 |
                sed 's/^/    /'
        fi
    done
}

run_e2e() {
    local row combo file when
    prepare
    export -f run_job
    export OUT
    while read -r row; do
        combo=${row%%:*}
        case $combo in
        *-root-*)
            if [ "$(id -u)" != 0 ]; then
                echo "not root: the tests of $combo are skipped" >&2
                skipped=$((skipped + $(cat tests/e2e/*.bats | grep -c '^@test')))
                continue
            fi
            ;;
        esac
        for file in tests/e2e/*.bats; do
            # shellcheck disable=SC2254
            case $(basename "$file" .bats) in $FILES) ;; *) continue ;; esac
            when=$(sed -n 's/^# runs: //p' "$file" | head -1)
            if [ -n "$when" ]; then
                case $row: in *":$when:"*) ;; *) continue ;; esac
            fi
            printf '%s\0%s\0' "$combo" "$file"
        done
    done < <(matrix) >"$OUT/jobs"
    if [ ! -s "$OUT/jobs" ]; then
        echo "FAILED: no end-to-end file is named like \"$FILES\" (see tests/e2e)"
        failed=$((failed + 1))
    fi
    # The long files first, so that no job is left alone at the end.
    xargs -0 -r -n 2 -P "$JOBS" bash -c 'run_job "$@"' - <"$OUT/jobs" || true
    count_results
}

[ -z "$UNIT" ] || run_unit
[ -z "$CHECKS" ] || run_checks
[ -z "$E2E" ] || run_e2e

echo "took $((SECONDS - started)) s"
summary="$passed passed, $failed failed"
[ $skipped = 0 ] || summary+=", $skipped skipped"
echo "$summary"
exit $((failed > 0))
}
