#!/bin/bash
# The engine compiles for arm64 with Debian's cross compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
make --no-print-directory BUILD="${1:-build}" arm64 >/dev/null
