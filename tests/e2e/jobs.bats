# Terminals, job control, what outlives the command, and what must not outlive fuss.
# runs: shim
load ../lib/fuss

fixture() {
    mk "$L2/f" low
    RUN_TIMEOUT=40
}

# on_pty COMMAND...: steps on stdin, the command in the union on a terminal of its own.
on_pty() {
    cat >"$T/seals/steps"
    FUSS_FG=1
    fuss_argv "$@"
    (cd "$RUN_CWD" && exec /usr/bin/python3 "$E2E_ROOT/tests/lib/terminal.py" "$T/seals/steps" "${ARGV[@]}" 3>&-)
}

@test "bash with job control: Ctrl-Z, fg, bg, Ctrl-C" {
    on_pty env PS1='$ ' /bin/bash --norc --noprofile -i <<EOT
expect \\$ 
send cd $M && cat f
expect low
send cat
sleep 0.3
key Z
expect Stopped
send jobs
expect Stopped.*cat
send fg
expect cat
send echo-me
expect echo-me
key D
expect \\$ 
send sleep 30
sleep 0.5
key Z
expect Stopped
send bg
expect sleep 30
send jobs
expect Running
send kill %1; wait; echo "ended"
expect ended
send sleep 31
sleep 0.5
key C
send echo status \$?
expect status 130
send echo done >made; exit 3
status 3
EOT
    [ -e "$U/made" ]
}

@test "a stopped command that is stopped from outside goes on" {
    shows 'sh -c "kill -STOP \$\$; cat f" & p=$!; sleep 0.5; kill -CONT $p; wait $p; echo " $?"' <<<'low 0'
}

# The loop waits in a builtin: bash drops a Ctrl-C that comes while a child of its is just ending.
@test "the terminal's size arrives and changes" {
    on_pty /bin/bash -c 'trap "stty size; echo resized" WINCH; stty size; echo ready
        trap "exit 5" INT; while :; do read -rt 0.2 _ || :; done' <<'EOT'
expect 24 100
expect ready
sleep 0.3
resize 33 77
expect 33 77
expect resized
key C
status 5
EOT
}

# bats test_tags=fuss
@test "what the command leaves running goes on, and still sees the union" {
    begun=$SECONDS
    sh_in '(sleep 3; cat f >late; rm f) >/dev/null 2>&1 & echo now' >"$T/home/o"
    [ $((SECONDS - begun)) -lt 3 ]
    is "$(cat "$T/home/o")" now
    [ ! -e "$U/late" ]
    for _ in $(seq 40); do
        [ -e "$U/late" ] && break
        sleep 0.2
    done
    sleep 0.5
    is "$(cat "$U/late")" low
}

# bats test_tags=fuss
@test "--kill-leftovers ends them" {
    FUSS_OPTS=(--kill-leftovers)
    sh_in '(sleep 2; echo x >late) >/dev/null 2>&1 & (setsid sleep 77.31) >/dev/null 2>&1 & echo now' >/dev/null
    ! pgrep -f 'sleep 77.31' || false
    sleep 2.5
    [ ! -e "$U/late" ]
}

# bats test_tags=fuss
@test "the upper is free again when the leftovers have ended" {
    sh_in '(sleep 1) >/dev/null 2>&1 &'
    sleep 1.5
    is "$(fuss_run cat "$M/f")" low
}

# bats test_tags=fuss
@test "the supervisor dead means the tree dead" {
    sh_in 'echo $$ >pid1; sleep 300 & echo $! >pid2; (setsid sleep 300 & echo $! >pid3; wait); wait' &
    for _ in $(seq 50); do
        [ -s "$U/pid3" ] && break
        sleep 0.1
    done
    pids=$(cat "$U/pid1" "$U/pid2" "$U/pid3")
    for p in $pids; do kill -0 "$p"; done
    for p in $pids; do
        tracer=$(sed -n 's/^TracerPid:\t//p' "/proc/$p/status")
    done
    [ "$tracer" != 0 ]
    kill -9 "$tracer"
    sleep 0.7
    for p in $pids; do
        state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$p/status" 2>/dev/null || true)
        [ -z "$state" ] || [ "$state" = Z ] || { echo "$p lives: $state" && false; }
    done
    wait || true
}

# bats test_tags=fuss
@test "signals sent to fuss reach the command" {
    sh_in 'trap "echo caught >got; exit 9" TERM; echo x >ready; while :; do sleep 0.1; done' &
    job=$!
    for _ in $(seq 50); do
        [ -e "$U/ready" ] && break
        sleep 0.1
    done
    pkill -TERM -o -f -- "$FUSS --backend.*--upperdir=$U" || kill -TERM "$job"
    rc=0
    wait "$job" || rc=$?
    is "$rc" 9
    is "$(cat "$U/got")" caught
}

@test "hundreds of short commands in a row" {
    shows 'i=0; while [ $i -lt 200 ]; do /bin/true || echo bad; i=$((i+1)); done; echo fine' <<<fine
}
