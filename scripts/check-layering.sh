#!/bin/bash
# The include arrows of ARCHITECTURE.md: base <- vfs <- overlay; vfs <- call; base <- image;
# {call, vfs, image, session} <- preload and tracer. call never includes overlay/; preload and tracer never
# include each other; common/ includes nothing from outside common/.
set -euo pipefail
cd "$(dirname "$0")/.."

bad=0
# forbid FOLDER REGEX: no file of FOLDER may include a project header that matches.
forbid() {
    local found
    [ -d "$1" ] || return 0
    found=$(grep -rnE --include='*.[chS]' --include='*.def' "^[[:space:]]*#[[:space:]]*include[[:space:]]+\"($2)" "$1" || true)
    if [ -n "$found" ]; then
        printf '%s must not include %s:\n%s\n' "$1" "$2" "$found"
        bad=1
    fi
}

forbid common/base 'common/|\.\./|vfs/|overlay/|call/|session\.h|tracer/|preload/'
forbid common/image 'common/|\.\./|vfs/|overlay/|call/|session\.h|tracer/|preload/'
forbid common/vfs '\.\./|overlay/|call/|tracer/|preload/'
forbid common/overlay '\.\./|call/|tracer/|preload/'
forbid common/call '\.\./|overlay/|tracer/|preload/'
forbid common 'tracer/|preload/|tests/'
forbid tracer 'preload/|tests/'
forbid image 'common/|base/|vfs/|overlay/|call/|session\.h|tracer/|preload/|tests/'
forbid preload 'tracer/|tests/'
# The engine is freestanding: headers for types and constants, none whose purpose is functions.
found=$(grep -rnE --include='*.[ch]' \
    '^[[:space:]]*#[[:space:]]*include[[:space:]]+<(stdio|stdlib|unistd|pthread|malloc|assert|ctype|locale|err|sys/syscall_wrappers)\.h>' \
    common || true)
if [ -n "$found" ]; then
    printf 'common/ must not use libc functions:\n%s\n' "$found"
    bad=1
fi
exit $bad
