# Mountpoint, lowers and upper that lie in each other.
load ../lib/fuss

fixture() {
    mk "$L1/f" one && mk "$L1/src/main" m && mk "$L2/g" two
}

@test "the mountpoint is the lower: a build over one's own project" {
    MOUNT=$L1 LOWER=$L1
    shows 'echo more >>f; cat f; mkdir out; echo o >out/o; rm -r src; ls' <<'EOT'
onemore
f
out
EOT
    is "$(cat "$L1/f")" one
    [ -e "$L1/src/main" ] && [ ! -e "$L1/out" ]
    upper_is <<'EOT'
f f
d out
f out/o
W src
EOT
    shows 'cat f; ls; pwd -P | sed "s|$M|M|"' <<'EOT'
onemore
f
out
M
EOT
}

@test "the mountpoint is the lower, by relative paths from inside" {
    MOUNT=$L1 LOWER=$L1
    RUN_CWD=$L1/src
    fuss_run sh -c 'echo x >>main; echo n >new; cat main ../f; rm ../f; ls ..' >"$T/home/o"
    is "$(tr '\n' ' ' <"$T/home/o")" "mx onesrc "
    is "$(cat "$U/src/new")" n
}

# bats test_tags=root
@test "the mountpoint is the lower: what its own directories close may be open in the union" {
    MOUNT=$L1 LOWER=$L1
    mkdir "$L1/src/deep" && chmod 700 "$L1/src"
    ops <<EOT
chmod src 755 = ok
seteuid 12345
cat $L1/src/main = m
ls $L1/src/deep = ""
chdir $L1/src/deep = ok
cat ../main = m
EOT
}

@test "the mountpoint is one of two lowers" {
    MOUNT=$L1 LOWER=$L1:$L2
    shows 'cat f g; echo; mv g h; ls' <<'EOT'
onetwo
f
h
src
EOT
}

# bats test_tags=fuss
@test "the upper inside a lower is not shown, or refused in one line" {
    mkdir "$L1/.upper" && U=$L1/.upper UPPER=$L1/.upper
    run sh_in 'echo x >new; ls -a | tr "\n" " "'
    if [ "$status" = 125 ]; then
        is "$(printf '%s\n' "$output" | wc -l)" 1
    else
        is "$output" ". .. f g new src "
        is "$(sh_in 'find . | grep -c upper')" 0 || true
        is "$(cat "$UPPER/new")" x
    fi
}

# bats test_tags=fuss
@test "the upper inside the mountpoint, which is the lower" {
    mkdir -p "$L1/build/upper" && U=$L1/build/upper UPPER=$U
    MOUNT=$L1 LOWER=$L1
    run sh_in 'echo x >new; ls build; cat new; stat build/upper/new 2>&1 | grep -c "No such"'
    if [ "$status" = 125 ]; then
        is "$(printf '%s\n' "$output" | wc -l)" 1
    else
        is "$output" "x
1"
        is "$(cat "$UPPER/new")" x
        [ ! -e "$L1/new" ]
    fi
}

# bats test_tags=fuss
@test "a lower inside the mountpoint" {
    mkdir -p "$M/sub/low" && mk "$M/sub/low/x" x && mk "$M/plain" p
    LOWER=$M/sub/low
    run sh_in 'ls; cat x'
    if [ "$status" = 125 ]; then
        is "$(printf '%s\n' "$output" | wc -l)" 1
    else
        is "$output" "x
x"
    fi
}

# bats test_tags=fuss
@test "the mountpoint /usr: lookups see the union, programs run" {
    mk "$L1/fuss-test-new" new && mk "$L1/share/fuss-test/x" deep && mk "$L1/lib/fuss-test-lib" l
    MOUNT=/usr LOWER=$L1:/usr
    is "$(fuss_run cat /usr/fuss-test-new /usr/share/fuss-test/x /usr/bin/../f)" newdeepone
    is "$(fuss_run sh -c 'ls /usr/share | grep -cx -e fuss-test -e doc')" 2
    is "$(fuss_run sh -c 'cd /usr/lib && cat fuss-test-lib && test -e gcc || test -e os-release && echo yes')" lyes
    is "$(fuss_run /usr/bin/stat -c %F /usr)" directory
    is "$(fuss_run sh -c 'command -v stat')" "$(command -v stat)"
    is "$(fuss_run bash -c 'readlink /proc/self/exe; readlink /proc/$$/exe' | sort -u | tail -1)" \
        "$(bash -c 'readlink /proc/self/exe; readlink /proc/$$/exe' | sort -u | tail -1)"
    [ ! -e /usr/fuss-test-new ]
}

# bats test_tags=fuss
@test "the mountpoint /: lookups see the union, the root of everything" {
    mk "$L1/fuss-test-new" new && mk "$L1/etc/fuss-test" etc
    MOUNT=/ LOWER=$L1:/
    is "$(fuss_run cat /fuss-test-new /etc/fuss-test /f)" newetcone
    is "$(fuss_run sh -c 'cd /; ls | grep -cx -e fuss-test-new -e etc -e usr')" 3
    is "$(fuss_run sh -c 'cd /etc && cat fuss-test && cd .. && pwd && cat fuss-test-new')" "etc/
new"
    has "$(fuss_run sh -c 'head -c 4 /proc/version; test -c /dev/null && echo null')" 'Linunull'
    [ ! -e /fuss-test-new ] && [ ! -e /etc/fuss-test ]
    [ "$E2E_USER" = user ] || {
        fuss_run sh -c 'echo w >/fuss-test-written; cat /fuss-test-written'
        [ ! -e /fuss-test-written ] && [ -e "$U/fuss-test-written" ]
    }
}
