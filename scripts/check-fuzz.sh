#!/bin/bash
# A fixed run of the differential fuzzer against kernel overlayfs; the list of deliberate
# differences as printed.
set -euo pipefail
cd "$(dirname "$0")/.."
make --no-print-directory -s BUILD="${1:-build}" differences-check fuzz-smoke
