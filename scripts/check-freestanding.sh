#!/bin/bash
# What the common archive needs from outside: the four functions that a compiler emits by itself,
# nothing else. No thread-local storage either.
set -euo pipefail
cd "$(dirname "$0")/.."
archive=${1:-build}/obj/common.a

if [ ! -e "$archive" ]; then
    echo "$archive is not built"
    exit 1
fi
defined=$(nm --defined-only --extern-only "$archive" 2>/dev/null | awk 'NF == 3 {print $3}' | sort -u)
undefined=$(nm --undefined-only "$archive" 2>/dev/null | awk '$1 == "U" || $1 == "w" {print $2}' |
    sort -u | grep -vxE 'memcpy|memset|memmove|memcmp|_GLOBAL_OFFSET_TABLE_' || true)
missing=$(comm -13 <(printf '%s\n' "$defined") <(printf '%s\n' "$undefined") | grep . || true)
if [ -n "$missing" ]; then
    printf 'common/ needs from outside:\n%s\n' "$missing"
    exit 1
fi
tls=$(objdump -h "$archive" 2>/dev/null | grep -E '\.t(bss|data)' || true)
if [ -n "$tls" ]; then
    printf 'common/ has thread-local storage:\n%s\n' "$tls"
    exit 1
fi
