#!/bin/bash
# clang-format and shellcheck over everything that is ours; file lengths: a source of more than 600
# lines must be named, with its reason, in ARCHITECTURE.md.
set -euo pipefail
cd "$(dirname "$0")/.."

bad=0
sources() {
    find common image tracer preload tests -name '*.[ch]' 2>/dev/null | sort
}
mapfile -t c < <(sources)
clang-format --dry-run -Werror "${c[@]}" 2>&1 | grep -E 'error:' | sort -u | head -40 && bad=1

tabs=$(printf '%s\n' "${c[@]}" | xargs -r grep -lP '\t' -- || true)
if [ -n "$tabs" ]; then
    printf 'tabs in C:\n%s\n' "$tabs"
    bad=1
fi

mapfile -t shell < <(find scripts tests .ci -type f \( -name '*.sh' -o -name '*.bash' \) | sort
    grep -lE '^#!.*\b(ba)?sh\b' .ci/* 2>/dev/null || true)
shellcheck "${shell[@]}" || bad=1
mapfile -t bats < <(find tests -name '*.bats' | sort)
# Bodies of bats tests: variables of the helpers are unknown here, patterns are meant literally.
shellcheck -s bats -e SC2154,SC2034,SC2016,SC1091,SC2030,SC2031,SC2314,SC2315 "${bats[@]}" || bad=1

while read -r lines file; do
    if [ "$lines" -gt 600 ] && ! grep -qF "${file#./}" ARCHITECTURE.md 2>/dev/null; then
        echo "$file has $lines lines: split it or give the reason in ARCHITECTURE.md"
        bad=1
    fi
done < <(find common image tracer preload tests scripts -type f \
    \( -name '*.[chS]' -o -name '*.def' -o -name '*.sh' -o -name '*.bash' -o -name '*.bats' \
    -o -name '*.py' -o -name '*.go' \) -exec wc -l {} + 2>/dev/null | grep -v ' total$')
exit $bad
