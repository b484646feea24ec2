#!/bin/bash
# The syscall table is whole: every number of the installed kernel headers is listed, every listed
# call has a row or is marked as passing, and docs/syscalls.md says what the table says.
#   check-syscalls.sh          check
#   check-syscalls.sh --doc    print docs/syscalls.md
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

CALL=common/call
DOC=docs/syscalls.md
bad=0

complain() {
    printf '%s\n' "$1"
    bad=1
}

# numbers ARCH: "number name verdict", one call a line.
numbers() {
    sed -nE 's/^NUMBER\(([0-9]+), *(\w+), *(\w+)\).*/\1 \2 \3/p' "$CALL/numbers_$1.def"
}

absent() {
    sed -nE 's/^ABSENT\((\w+)\).*/\1/p' "$CALL/numbers_$1.def"
}

# "name|handler|want|want2|traits" of every row.
rows() {
    sed -nE 's/^ROW\((.*)\)$/\1/p' "$CALL/syscalls.def" |
        awk -F', *' '{ print $1 "|" $3 "|" $4 "|" $5 "|" $12 }'
}

# Names of the calls that stop only for some arguments.
conditions() {
    sed -nE 's/^(SET|EQUAL|FAKED)\((\w+),.*/\2/p' "$CALL/filter.def" | sort -u
}

# headers COMPILER: "number name" as that compiler's kernel headers have it. The second run of the
# preprocessor resolves aliases such as __NR3264_fcntl.
headers() {
    local names
    names=$(printf '#include <asm/unistd.h>\n' | "$1" -E -dM - |
        sed -nE 's/^#define __NR_(\w+) .*/\1/p' | grep -vxE 'syscalls|arch_specific_syscall')
    {
        printf '#include <asm/unistd.h>\n'
        while read -r name; do
            printf 'CALL __NR_%s "%s"\n' "$name" "$name"
        done <<<"$names"
    } | "$1" -E -P - | sed -nE 's/^CALL +(\(?[0-9]+[^"]*) +"(\w+)"$/\1 \2/p' |
        while read -r nr name; do
            printf '%d %s\n' "$((nr))" "$name"
        done
}

check_headers() {
    local arch=$1 compiler=$2 found missing
    if ! command -v "$compiler" >/dev/null; then
        printf '%s: no %s, its headers are not compared\n' "$arch" "$compiler" >&2
        return
    fi
    found=$(headers "$compiler")
    if [ "$(wc -l <<<"$found")" -lt 250 ]; then
        complain "$arch: only $(wc -l <<<"$found") calls found in the headers of $compiler"
        return
    fi
    missing=$(comm -23 <(sort -u <<<"$found") <(numbers "$arch" | cut -d' ' -f1,2 | sort -u))
    [ -z "$missing" ] || complain "numbers_$arch.def lacks, or names otherwise: ${missing//$'\n'/, }"
}

check_arch() {
    local arch=$1 found
    found=$(grep -cE '^(NUMBER|ABSENT)\(' "$CALL/numbers_$arch.def")
    [ "$found" = "$(($(numbers "$arch" | wc -l) + $(absent "$arch" | wc -l)))" ] ||
        complain "numbers_$arch.def: a line that cannot be read"
    found=$(numbers "$arch" | awk '$3 != "PASS" && $3 != "TABLE" { print $2 }')
    [ -z "$found" ] || complain "$arch: neither PASS nor TABLE: ${found//$'\n'/ }"
    found=$(numbers "$arch" | awk '{ print $1 "\n" $2 }' | sort | uniq -d)
    [ -z "$found" ] || complain "$arch: listed twice: ${found//$'\n'/ }"
    found=$(comm -23 <(numbers "$arch" | awk '$3 == "TABLE" { print $2 }' | sort) "$names")
    [ -z "$found" ] || complain "$arch: marked TABLE, without a row: ${found//$'\n'/ }"
    found=$(comm -12 <(numbers "$arch" | awk '$3 == "PASS" { print $2 }' | sort) "$names")
    [ -z "$found" ] || complain "$arch: marked PASS, with a row: ${found//$'\n'/ }"
    found=$(comm -13 <({ numbers "$arch" | cut -d' ' -f2; absent "$arch"; } | sort) "$names")
    [ -z "$found" ] || complain "$arch: rows without a number: ${found//$'\n'/ }"
    found=$(comm -12 <(numbers "$arch" | cut -d' ' -f2 | sort) <(absent "$arch" | sort))
    [ -z "$found" ] || complain "$arch: both numbered and absent: ${found//$'\n'/ }"
}

check_rows() {
    local found
    [ "$(grep -c '^ROW(' "$CALL/syscalls.def")" = "$(rows | wc -l)" ] ||
        complain "syscalls.def: a row that cannot be read"
    found=$(uniq -d "$names")
    [ -z "$found" ] || complain "syscalls.def: more than one row: ${found//$'\n'/ }"
    found=$(comm -3 <(rows | grep SYS_ARG_FILTER | cut -d'|' -f1 | sort) <(conditions) | tr -d '\t')
    [ -z "$found" ] || complain "SYS_ARG_FILTER and filter.def differ on: ${found//$'\n'/ }"
}

print_doc() {
    cat <<'TEXT'
# System calls

Made by `scripts/check-syscalls.sh --doc`; `scripts/check-syscalls.sh` fails when it is stale.

A call without a row here and not listed as passing does not exist for the program: ENOSYS. So do
ENOSYS rows, calls of the 32-bit ABI (int 0x80) and of x32.

## Calls that fuss serves

*wants*: what the call wants of the object it names. *some arguments*: stopped only for the
arguments listed in `common/call/filter.def`, passed otherwise.

| call | x86_64 | arm64 | handler | wants | when |
|---|---|---|---|---|---|
TEXT
    awk '
        FILENAME == ARGV[1] { x86[$2] = $1; next }
        FILENAME == ARGV[2] { arm[$2] = $1; next }
        {
            split($0, f, "|")
            want = tolower(f[3])
            if (f[4] != "NONE") want = want ", " tolower(f[4])
            if (want == "none") want = "-"
            when = $0 ~ /SYS_ARG_FILTER/ ? "some arguments" : "always"
            if ($0 ~ /SYS_FAKED/) when = "with fake ids" (when == "always" ? "" : ", " when)
            if (f[2] == "ENOSYS") when = "never runs"
            printf "| %s | %s | %s | %s | %s | %s |\n", f[1], f[1] in x86 ? x86[f[1]] : "-",
                f[1] in arm ? arm[f[1]] : "-", f[2], want, when
        }' <(numbers x86_64) <(numbers arm64) <(rows)
    printf '\n## Calls that pass to the kernel untouched\n\n'
    { numbers x86_64; numbers arm64; } | awk '$3 == "PASS" { print $2 }' | sort -u | paste -sd' ' |
        fold -s -w 96 | sed 's/ *$//'
}

case ${1-} in
--doc)
    print_doc
    exit 0
    ;;
-*)
    printf 'usage: %s [--doc]\n' "$0" >&2
    exit 2
    ;;
esac

names=$(mktemp)
trap 'rm -f "$names"' EXIT
rows | cut -d'|' -f1 | sort >"$names"

check_rows
check_arch x86_64
check_arch arm64
# The installed headers are those of the machine's own compiler and of the cross compilers.
case $(uname -m) in
x86_64)
    check_headers x86_64 cc
    check_headers arm64 aarch64-linux-gnu-gcc
    ;;
aarch64)
    check_headers arm64 cc
    check_headers x86_64 x86_64-linux-gnu-gcc
    ;;
*) complain "no number list for $(uname -m)" ;;
esac

if ! diff -u "$DOC" <(print_doc) >/dev/null 2>&1; then
    complain "$DOC is stale: scripts/check-syscalls.sh --doc >$DOC"
fi
exit "$bad"
