# What SIGKILL leaves behind: a short round of `make torture`, each target once, as whoever runs the tests.
# runs: light
# bats file_tags=fuss
load ../lib/fuss

@test "killed at a random instant: lowers untouched, files old or new, the union usable" {
    run env TMPDIR="$T" timeout 60 python3 "$E2E_ROOT/tests/torture/torture.py" --fuss "$FUSS" --rounds 4 \
        --time 20 --seed "$(($(date +%s) % 100000 * 4))" --backend "$E2E_BACKEND" --style "$E2E_STYLE"
    echo "$output"
    is "$output" "4 rounds, nothing found"
}
