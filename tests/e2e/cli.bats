# The command line: flags, the configuration file, exit statuses, one-line errors.
# bats file_tags=fuss
load ../lib/fuss

fixture() {
    mk "$L1/f" one && mk "$L2/g" two
    ARGS=("--mountpoint=$M" "--lowerdir=$L1:$L2" "--upperdir=$U" "--whiteout=$E2E_STYLE"
        "--backend=$E2E_BACKEND")
}

@test "--help and --version" {
    expect 0 fuss_bare --help
    has "$output" '--mountpoint'
    has "$output" '--lowerdir'
    has "$output" '--whiteout'
    expect 0 fuss_bare --version
    has "$output" '^fuss [0-9]+\.[0-9]+'
}

@test "flags as one word and as two" {
    is "$(fuss_bare "${ARGS[@]}" -- cat "$M/f" "$M/g")" onetwo
    is "$(fuss_bare --mountpoint "$M" --lowerdir "$L1:$L2" --upperdir "$U" --whiteout "$E2E_STYLE" \
        --backend "$E2E_BACKEND" -- cat "$M/f" "$M/g")" onetwo
}

@test "the order of lowerdir: leftmost on top" {
    mk "$L2/f" other
    is "$(fuss_bare "${ARGS[@]}" -- cat "$M/f")" one
    is "$(fuss_bare "${ARGS[@]}" "--lowerdir=$L2:$L1" -- cat "$M/f")" other
}

@test "a colon in a layer's name is escaped" {
    mkdir "$T/with:colon" "$T/m:x" && mk "$T/with:colon/c" colon
    LOWER="$T/with\\:colon:$L1" MOUNT=$T/m:x
    is "$(fuss_run cat "$T/m:x/c" "$T/m:x/f")" colonone
}

@test "names with spaces, quotes and UTF-8" {
    d="$T/ein \"Über\" 'quoted' dir"
    mkdir "$d" "$d/u" "$d/l" && mk "$d/l/f x" spaced
    LOWER=$d/l UPPER=$d/u MOUNT=$d/m
    is "$(fuss_run cat "$d/m/f x")" spaced
    fuss_run sh -c 'echo y >"$0/ü"' "$d/m"
    [ -f "$d/u/ü" ]
}

@test "the mountpoint need not exist" {
    MOUNT=/no/such/place
    is "$(fuss_run cat /no/such/place/f)" one
    [ ! -e /no ]
    fuss_run sh -c 'cd /no/such/place && echo x >new && ls' >/dev/null
    [ -e "$U/new" ]
}

@test "relative and unclean directories on the command line" {
    RUN_CWD=$T
    is "$(fuss_bare --mountpoint=m/. --lowerdir=./l1//:l2/../l2 --upperdir=u \
        "--whiteout=$E2E_STYLE" -- cat m/f "$M/g")" onetwo
}

@test "--workdir is accepted" {
    is "$(fuss_bare "${ARGS[@]}" "--workdir=$W" -- cat "$M/f")" one
    fuss_bare "${ARGS[@]}" "--workdir=$W" -- sh -c 'echo x >>"$0/f"' "$M"
    is "$(cat "$U/f")" onex
}

@test "the exit status is the command's" {
    expect 0 fuss_run true
    expect 7 fuss_run sh -c 'exit 7'
    expect 137 fuss_run sh -c 'kill -9 $$'
    expect 143 fuss_run sh -c 'kill -TERM $$'
    expect 139 fuss_run sh -c 'ulimit -c 0; kill -SEGV $$'
}

@test "126 and 127 as a shell has them" {
    chmod 644 "$L1/f"
    refused 127 no-such-command fuss_run no-such-command
    refused 127 no/such fuss_run /no/such
    refused 126 "$M/f" fuss_run "$M/f"
}

@test "usage errors: status 2, one line, naming what is wrong" {
    refused 2 '--no-such-flag' fuss_bare --no-such-flag -- true
    refused 2 'sometimes' fuss_bare "${ARGS[@]}" --whiteout=sometimes -- true
    refused 2 'slow' fuss_bare "${ARGS[@]}" --backend=slow -- true
    refused 2 'mountpoint' fuss_bare "--lowerdir=$L1" -- true
    refused 2 'lowerdir' fuss_bare "--mountpoint=$M" -- true
    refused 2 'command' fuss_bare "${ARGS[@]}"
    refused 2 'mountpoint' fuss_bare --mountpoint
}

@test "layers that are missing or no directories" {
    refused 125 "$T/none" fuss_bare "${ARGS[@]}" "--lowerdir=$L1:$T/none" -- true
    refused 125 "$L1/f" fuss_bare "${ARGS[@]}" "--lowerdir=$L1/f" -- true
    refused 125 "$L1/f" fuss_bare "${ARGS[@]}" "--upperdir=$L1/f" -- true
}

# bats test_tags=user
@test "layers that may not be read or written" {
    seal_lowers
    mkdir "$T/closed" "$T/foreign"
    chmod 700 "$T/closed"
    refused 125 "$T/closed" fuss_bare "${ARGS[@]}" "--lowerdir=$T/closed" -- true
    refused 125 "$T/foreign" fuss_bare "${ARGS[@]}" "--upperdir=$T/foreign" -- true
    refused 125 "$T/closed" fuss_bare "${ARGS[@]}" "--upperdir=$T/closed" -- true
}

@test "a lower inside another lower is refused" {
    mkdir "$L1/inner"
    refused 125 "$L1/inner" fuss_bare "${ARGS[@]}" "--lowerdir=$L1:$L1/inner" -- true
    refused 125 "$L1" fuss_bare "${ARGS[@]}" "--lowerdir=$L1:$L1" -- true
}

@test "a second session on the same upper is refused and names the first one's pid" {
    fuss_run sleep 3 &
    sleep 1
    refused 125 "$U" fuss_bare "${ARGS[@]}" -- true
    pid=$(printf '%s\n' "$output" | grep -oE '[0-9]{2,}' | while read -r n; do
        if tr '\0' ' ' <"/proc/$n/cmdline" 2>/dev/null | grep -q "$T"; then echo "$n"; fi
    done | head -1)
    [ -n "$pid" ] || { echo "no pid of a running fuss in: $output" && false; }
    kill "$pid" 2>/dev/null || true
    wait
    is "$(fuss_run cat "$M/f")" one
}

@test "two sessions with uppers of their own share a lower" {
    mkdir "$T/u2"
    fuss_run sh -c 'cd "$0"; echo 1 >>f; sleep 1; cat f' "$M" >"$T/home/1" &
    UPPER=$T/u2
    [ "$(id -u)" != 0 ] || [ "$E2E_USER" = root ] || { seal_lowers && chown "$E2E_USER_NAME:" "$T/u2"; }
    fuss_run sh -c 'cd "$0"; echo 2 >>f; sleep 1; cat f' "$M" >"$T/home/2"
    wait
    is "$(cat "$T/home/1" "$T/home/2")" "one1
one2"
}

# bats test_tags=chardev
@test "an upper where whiteout devices cannot be made names the other style" {
    as_user
    seal_lowers
    refused 125 fileprefix "${AS[@]}" "$PROG/deny" mknod "$FUSS" "${ARGS[@]}" -- true
}

@test "where ptrace is forbidden, one line says which limit" {
    as_user
    seal_lowers
    refused 125 ptrace "${AS[@]}" "$PROG/deny" ptrace "$FUSS" "${ARGS[@]}" -- true
}

@test "the configuration file: every key, and a flag overrides its key" {
    cat >"$T/home/.fuss" <<EOT
mountpoint: $M
upperdir: $U
lowerdir: $L1:$L2
whiteout: $E2E_STYLE
EOT
    is "$(fuss_bare -- cat "$M/f" "$M/g")" onetwo
    is "$(fuss_bare "--lowerdir=$L2" -- sh -c 'cat "$0/g"; ls "$0"' "$M")" "twog"
    fuss_bare -- sh -c 'rm "$0/f"' "$M"
    if [ "$E2E_STYLE" = fileprefix ]; then [ -e "$U/.wh.f" ]; else [ -c "$U/f" ]; fi
}

@test "mistakes in the configuration file are told with the file's name" {
    printf 'mountpoint: [\n' >"$T/home/.fuss"
    refused 2 '\.fuss' fuss_bare "${ARGS[@]}" -- true
    printf 'mountpint: /x\n' >"$T/home/.fuss"
    refused 2 'mountpint' fuss_bare "${ARGS[@]}" -- true
}

@test "the one file is the whole tool: copied, with an empty environment" {
    cp "$FUSS" "$T/home/renamed-tool"
    FUSS=$T/home/renamed-tool
    is "$(fuss_bare "${ARGS[@]}" -- /usr/bin/env -i /bin/cat "$M/f")" one
    is "$(cd / && as_user && "${AS[@]}" env -i "$FUSS" "${ARGS[@]}" -- /bin/cat "$M/g")" two
}

@test "standard streams pass through" {
    is "$(printf in | fuss_run cat)" in
    is "$(fuss_run sh -c 'echo out; echo err >&2' 2>/dev/null)" out
    is "$(fuss_run sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" err
}

@test "nothing of the session stays in the upper" {
    sh_in 'echo x >n; mkdir d; rm f'
    is "$(find "$U" -mindepth 1 -name '*fuss*' | wc -l)" 0
    rest=$(find "$U" -mindepth 1 | sed "s|$U/||" | grep -vxE 'n|d|f|\.wh\.f|d/\.wh\.\.wh\.\.opq' || true)
    is "$rest" ""
}

@test "a work directory left by a crash is cleaned at the next start" {
    fuss_run sh -c 'cd "$0"; while :; do echo x >>f; rm -f f; done' "$M" &
    sleep 1
    pkill -9 -f -- "--upperdir=$U" || true
    wait || true
    sleep 0.2
    sh_in 'echo ok >n; ls' >/dev/null
    is "$(find "$U" -mindepth 1 -name '*fuss*' | wc -l)" 0
}

@test "fuss inside fuss works or is refused in one line" {
    mkdir "$T/u2" "$T/m2"
    run fuss_run "$FUSS" "--mountpoint=$T/m2" "--lowerdir=$M" "--upperdir=$T/u2" -- cat "$T/m2/f"
    if [ "$status" = 0 ]; then
        is "$output" one
    else
        is "$status" 125
        is "$(printf '%s\n' "$output" | wc -l)" 1
    fi
}
