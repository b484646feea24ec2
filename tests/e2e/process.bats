# What processes do with the union: threads, forks, exec from a thread, signals, raw calls.
load ../lib/fuss

fixture() {
    mk "$L2/f" 1
}

@test "8 threads create, rename, remove and copy up in shared directories" {
    mkdir -p "$L1/sub" && mk "$L2/shared" shared
    for i in 0 1 2 3 4 5 6 7; do mk "$L2/low$i" "$i"; done
    is "$(probe threads "$M")" "left 48"
    [ -z "$(ls "$L1/sub")" ]
}

@test "storms of fork, vfork and spawn" {
    mkdir "$L1/work"
    is "$(probe forks "$M/work")" "files 80"
}

@test "whatever a new process asks first" {
    mkdir "$L1/work" && mk "$L1/work/f" 1
    is "$(probe firsts "$M/work")" ok
}

@test "exec from a thread that is not the first" {
    mkdir "$L1/work"
    is "$(probe mtexec "$M/work")" ok
    [ -e "$U/work/after-exec" ]
}

# bats test_tags=fuss
@test "int 0x80, x32, io_uring and unknown calls are not there; bad pointers are EFAULT" {
    is "$(probe rawcalls "$M")" ok
}

@test "bad pointers are EFAULT" {
    is "$(probe rawcalls "$M" native)" ok
}

@test "signals interrupt and restart blocked calls" {
    is "$(probe signals "$M")" ok
}

@test "openat2 and its flags" {
    mk "$L1/d/x" x && ln -s "$M/f" "$L1/abs" && ln -s ../.. "$L1/up" && ln -s d/x "$L2/in"
    is "$(probe resolve "$M")" ok
}

@test "a pipeline with a hundred processes" {
    mkdir "$L1/n"
    shows 'for i in $(seq 100); do (echo $i >n/$i; cat n/$i >/dev/null) & done; wait; ls n | wc -l | tr -d " "' <<<100
}

# bats test_tags=dynamic
@test "a Go program, static and many-threaded" {
    mk "$L1/d/one" 1 && mk "$L2/d/two" 2
    fuss_run "$E2E_BIN/tests/go/goprobe" "$M" >"$T/home/o"
    is "$(cat "$T/home/o")" ". d---------
d d---------
d/one ---------- 1
d/two ---------- 2
f ---------- 1
left: 80
to the child"
}
