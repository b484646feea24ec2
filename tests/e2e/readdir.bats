# Merged listings on any directory descriptor.
# runs: shim
load ../lib/fuss

fixture() {
    mk "$U/d/u" && mk "$L1/d/a" && mk "$L1/d/b" && mk "$L2/d/b" && mk "$L2/d/c" && mk "$L2/d/z"
    wh "$U" d/z
    mkdir "$L2/d/dir" && ln -s x "$L1/d/ln" && mkfifo "$L2/d/pipe"
    (cd "$L2" && mkdir many && cd many && for i in $(seq 1000); do : >"f$i"; done)
    mkdir -p "$L1/many" && (cd "$L1/many" && for i in $(seq 990 1010); do : >"f$i"; done)
}

@test "every name once, with the type of the top layer" {
    ops <<'EOT'
lstypes d = "a:r b:r c:r dir:d ln:l pipe:p u:r"
lsdots d = ". .. a b c dir ln pipe u"
ls many = ?
EOT
    shows 'ls many | wc -l | tr -d " "' <<<1010
}

@test "the raw calls, dup, fork, seekdir, fdopendir, two descriptors, no O_DIRECTORY" {
    probe readdir "$M/d" 9 && probe readdir "$M/many" 1012
}

@test "a listing after rewind shows what changed" {
    ops <<'EOT'
%d open d r
fls %d = "a b c dir ln pipe u"
fls %d = ""
put d/new x
unlink d/a
rewind %d
fls %d = "b c dir ln new pipe u"
%e dup %d
rewind %e
fls %d = "b c dir ln new pipe u"
fls %e = ""
EOT
}

@test "listing through . and .. and from the cwd" {
    ops <<'EOT'
chdir d
ls . = "a b c dir ln pipe u"
ls ../d = "a b c dir ln pipe u"
chdir dir
ls .. = "a b c dir ln pipe u"
%d openat cwd .. r
fls %d = "a b c dir ln pipe u"
%e openat %d dir r
%f openat %e .. r
fls %f = "a b c dir ln pipe u"
EOT
}

@test "errors of a listing" {
    ops <<'EOT'
%f open d/a r
fls %f = ENOTDIR
%d open d r
read %d = EISDIR
%p open d path
fls %p = EBADF
lseek %d -1 set = EINVAL
EOT
}

@test "find, ls -lR and a shell's globs agree with a plain copy" {
    mkdir "$T/plain"
    cp -a "$L2/." "$T/plain/" && cp -a "$L1/." "$T/plain/" && rm "$T/plain/d/z" && : >"$T/plain/d/u"
    for cmd in 'find . | sort' 'ls -R' 'echo d/* many/f10*' 'find . -type d | sort' \
        'find . -name "f99*" | wc -l' 'ls -a d'; do
        is "$(sh_in "$cmd")" "$(cd "$T/plain" && LC_ALL=C bash -c "$cmd")" "$cmd"
    done
}

@test "rm while listing: find -delete leaves nothing" {
    sh_in 'find many -type f -delete 2>/dev/null || find many -type f -exec rm {} +; rmdir many'
    ops <<'EOT'
stat many = ENOENT
EOT
}

@test "the union's root lists what all layers have" {
    ops <<'EOT'
lsdots . = ". .. d many"
EOT
}

# bats test_tags=fuss
@test "nothing of the session's own shows in the upper's root" {
    ops <<'EOT'
put x 1
mkdir e
rename x y
unlink d/b
lsdots . = ". .. d e many y"
EOT
}

@test "a directory descriptor inherited over exec lists the union" {
    shows 'exec 9<d; ls -a /proc/self/fd/9/ | tr "\n" " "' <<<". .. a b c dir ln pipe u "
}

# What `lists` wants: directories of one part, with names that a layer hides.
lists_fixture() {
    mkdir -p "$L2/deep/odd/dir" "$L2/deep/many"
    (cd "$L2/deep/many" && for i in $(seq 0 999); do : >"f$i"; done)
    (cd "$L2/many" && rm -f f* && for i in $(seq 0 999); do : >"f$i"; done)
    rm -rf "$L1/many"
    mk "$L2/deep/odd/x" && mk "$L2/deep/odd/y" && wh "$L2" deep/odd/hidden
}

@test "directories of one part: whole, by streams, with seekdir, what a layer hides in them" {
    lists_fixture
    is "$(probe lists plain "$M")" ok
}

@test "directories of one part: signals, and jumps out of their handlers" {
    lists_fixture
    is "$(probe lists signals "$M")" ok
}

@test "a directory of one part gets another in the middle of its listing" {
    lists_fixture
    is "$(probe lists grows "$M")" ok
}

@test "a directory of one part is renamed and removed while it is open; errors" {
    lists_fixture
    is "$(probe lists goes "$M")" ok
}
