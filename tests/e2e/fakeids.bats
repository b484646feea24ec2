# Fake ids: an ordinary user's command that believes to be root, or somebody else. What it does to
# owners, modes and devices is written down; root's command is what it is told to be.
# runs: light
# bats file_tags=fuss
load ../lib/fuss

fixture() {
    mk "$L1/etc/a" a
    mk "$L2/etc/b" b
    mkdir "$L2/dir"
    FUSS_OPTS=(-0)
}

ordinary() {
    [ "$E2E_USER" = user ] || skip "root really is what others believe to be"
}

facts() {
    local f=$U/$1
    echo "$(getfattr --only-values -n user.containers.override_stat "$f" 2>/dev/null) $(stat -c %a "$f")"
}

@test "the ids a program has, and what it may change them to" {
    probe fakeids 0 0
    FUSS_OPTS=(-i 12:34)
    probe fakeids 12 34
    FUSS_OPTS=(-i 12)
    probe fakeids 12 12
    FUSS_OPTS=(--fake-id=0:0)
    probe fakeids 0 0
    refused 2 "numbers of a user" fuss_bare -i x -- true
    refused 2 "numbers of a user" fuss_bare --fake-id=1:2:3 -- true
    refused 2 "numbers of a user" fuss_bare -i -1 -- true
}

@test "who is at the other end of a socket" {
    probe fakeids peer "$M/s"
}

@test "owners are recorded, and shown by every call and by the next session" {
    shows 'chown 33:44 etc/a; chown -h 5 etc; chown 7:8 dir; : >new; chown :9 new
        stat -c "%u:%g %n" etc/a etc/b etc dir new
        exec 3<etc/a; stat -L -c %u /dev/fd/3' <<'EOF'
33:44 etc/a
0:0 etc/b
5:0 etc
7:8 dir
0:9 new
33
EOF
    shows 'stat -c "%u:%g %n" etc/a etc dir; cp -a etc/a copy; mv etc/a moved; ln moved again
        stat -c "%u:%g %n" copy moved again; chown 0:0 moved; stat -c %u again' <<'EOF'
33:44 etc/a
5:0 etc
7:8 dir
33:44 copy
33:44 moved
33:44 again
0
EOF
    [ "$E2E_USER" = root ] || is "$(facts copy)$(facts moved)" "33:44:0644 644 644"
}

@test "modes that would keep the user out, or let others in as him" {
    ordinary
    shows 'echo x >f; chmod 0 f; cat f; chmod 4755 etc/a; mkdir d; chmod 000 d; echo y >d/z; cat d/z
        stat -c "%a %n" f etc/a d; echo more >>f; stat -c %a f; chmod 640 f' <<'EOF'
x
y
0 f
4755 etc/a
0 d
0
EOF
    is "$(facts f),$(facts etc/a),$(facts d)" " 640,0:0:04755 755,0:0:00 700"
    shows 'chown 1 etc/a; stat -c %a etc/a; umask 377; echo z >ro; echo zz >ro; cat ro' <<'EOF'
755
zz
EOF
}

@test "devices are files that show as what they stand for" {
    ordinary
    is "$(sh_in 'mknod n c 1 3; mknod b b 8 300; chmod 666 n; chown 0:6 b; mkfifo p
        stat -c "%F %a %t,%T %u:%g" n b p; test -c n && test -b b && echo yes; rm n; test ! -e n')" \
        "character special file 666 1,3 0:0
block special file 644 8,12c 0:6
fifo 644 0,0 0:0
yes"
    is "$(facts b)" "0:6:0644:block-8-300 600"
    expect 1 sh_in 'mknod w c 0 0'
}

@test "links, fifos and sockets have an owner as long as the session lasts" {
    ordinary
    shows 'ln -s x l; mkfifo p; chown -h 5:6 l; chown 7:8 p; chmod 600 p; mv l m; stat -c "%u:%g %a" m p
        rm m p; ln -s y l; mkfifo p; stat -c "%u:%g" l p' <<'EOF'
5:6 777
7:8 600
0:0
0:0
EOF
}

@test "one who is not root any more is judged by what is recorded" {
    mkdir "$L1/own"
    shows 'chown 33:33 own; chown 34:34 dir; mkdir shut; chown 34 shut; chmod 700 shut' </dev/null
    FUSS_OPTS=(-i 33:33)
    shows 'echo mine >own/f; stat -c %u:%g own/f; chown 0 own/f 2>/dev/null || echo refused
        touch dir/f 2>/dev/null || echo refused; cd shut 2>/dev/null || echo refused
        chmod 777 dir 2>/dev/null || echo refused; rm own/f; ls own' <<'EOF'
33:33
refused
refused
refused
refused
EOF
}

@test "the record is no attribute of the program's" {
    ordinary
    shows 'chown 3 etc/a; getfattr -d -m - etc/a; getfattr -n user.containers.override_stat etc/a 2>&1 |
        grep -c "not supported"; setfattr -n user.x -v 1 etc/a; getfattr -d etc/a' <<'EOF'
1
# file: etc/a
user.x="1"

EOF
}

@test "set-id programs, and the ids that a child and an exec keep" {
    ordinary
    cp "$(command -v busybox)" "$L1/box"
    shows 'mkdir u g; cp box u/id; chown 11:12 u/id; chmod 6755 u/id; u/id -u; u/id -g; u/id -ru
        cp box g/id; chown 0:12 g/id; chmod 2755 g/id; (g/id -g); id -u; id -g' <<'EOF'
11
12
0
12
0
0
EOF
}

@test "outside the union the user's own files are his too" {
    ordinary
    : >"$T/home/f"
    shows 'stat -c %u:%g "$T/home/f"; chown 0:0 "$T/home/f" && echo done
        chown 1 "$T/home/f" 2>/dev/null || echo refused' <<'EOF'
0:0
done
refused
EOF
}

@test "a directory of the union becomes the root" {
    ordinary
    mkdir -p "$L2/sub/bin"
    cp "$(command -v busybox)" "$L2/sub/bin/sh"
    is "$(sh_in 'chroot sub /bin/sh -c "echo /*"')" /bin
}
