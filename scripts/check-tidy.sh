#!/bin/bash
# clang-tidy with the checks of .clang-tidy over the engine and the tracer; any finding fails.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t files < <(find common image tracer preload -name '*.c' 2>/dev/null |
    grep -v "_$([ "$(uname -m)" = x86_64 ] && echo arm64 || echo x86_64)\.c" | sort)
[ ${#files[@]} -gt 0 ] || exit 0
printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P 2 sh -c '
    clang-tidy --quiet --warnings-as-errors="*" "$@" -- -std=gnu11 -D_GNU_SOURCE -Icommon -I. \
        -Wno-unknown-warning-option 2>/dev/null' -
