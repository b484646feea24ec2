# What fuss says about its work, and that it says nothing unasked.
# bats file_tags=fuss
load ../lib/fuss

fixture() {
    mk "$L2/f" x
    LOG=$T/home/log
}

@test "silent by default" {
    is "$(sh_in 'cat f; echo more >>f; rm f' 2>&1)" x
}

@test "intercept: a line per call with the path as said, the virtual and the real one" {
    FUSS_ENV=(FUSS_LOG_LEVEL=intercept)
    FUSS_OPTS=("--log-file=$LOG")
    is "$(sh_in 'cat ./f' 2>&1)" x
    has "$(cat "$LOG")" "open.*\./f.*$M/f.*$L2/f"
    has "$(grep -m1 "open.*\./f" "$LOG")" '[0-9]{2}:[0-9]{2}:[0-9]{2}|[0-9]+\.[0-9]{3,}'
}

@test "intercept: the result and a copy-up are told" {
    FUSS_ENV=(FUSS_LOG_LEVEL=intercept)
    FUSS_OPTS=("--log-file=$LOG")
    sh_in 'cat nope 2>/dev/null; echo y >>f' || true
    has "$(grep nope "$LOG")" 'ENOENT|-2'
    has "$(grep -E 'open.*f' "$LOG")" "$U/f"
}

@test "debug says at least as much, by level or by FUSS_DEBUG" {
    FUSS_OPTS=("--log-file=$LOG")
    FUSS_ENV=(FUSS_LOG_LEVEL=debug)
    sh_in 'cat f >/dev/null'
    one=$(wc -l <"$LOG")
    FUSS_OPTS=("--log-file=$LOG.2")
    FUSS_ENV=(FUSS_DEBUG=1)
    sh_in 'cat f >/dev/null'
    [ "$one" -gt 5 ] && [ "$(wc -l <"$LOG.2")" -gt 5 ]
}

@test "without a file the log goes to standard error" {
    FUSS_ENV=(FUSS_LOG_LEVEL=intercept)
    has "$(sh_in 'cat f' 2>&1 >/dev/null)" "$M/f"
    is "$(sh_in 'cat f' 2>/dev/null)" x
}

@test "a log file that cannot be written is an error at start" {
    FUSS_OPTS=("--log-file=/no/such/dir/log")
    refused 125 /no/such/dir/log fuss_run true
}

@test "an unknown level is an error at start" {
    FUSS_ENV=(FUSS_LOG_LEVEL=loud)
    refused 2 loud fuss_run true
}
