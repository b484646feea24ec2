# unlink and rmdir: whiteouts where a lower has the name, and only there.
load ../lib/fuss

fixture() {
    mk "$L1/one" 1 && mk "$L2/two" 2 && mk "$L1/both" 1 && mk "$L2/both" 2
    mk "$U/up" u && mk "$U/over" u && mk "$L2/over" l
    mk "$L1/d/a" a && mk "$L2/d/b" b && mk "$U/d/c" c
    mk "$L2/empty/x" x && wh "$L1" empty/x
    mkdir "$L2/e" "$U/ue"
    ln -s d "$L2/ld"
}

@test "unlink leaves a whiteout exactly where a lower has the name" {
    ops <<'EOT'
unlink one = ok
unlink two = ok
unlink both = ok
unlink up = ok
unlink over = ok
unlink one = ENOENT
stat both = ENOENT
ls . = "d e empty ld ue"
EOT
    upper_is <<'EOT'
W both
d d
f d/c
W one
W over
W two
d ue
EOT
}

@test "a name made over a whiteout leaves the whiteout again when it goes" {
    ops <<'EOT'
unlink two = ok
put two new = ok
unlink two = ok
stat two = ENOENT
put fresh x = ok
unlink fresh = ok
EOT
    upper_is <<'EOT'
d d
f d/c
f over
W two
d ue
f up
EOT
}

@test "errors of unlink" {
    ops <<'EOT'
unlink d = EISDIR
unlink d/ = EISDIR
unlink . = EISDIR
unlink nope = ENOENT
unlink nope/ = ENOENT
unlink one/ = ENOTDIR
unlink one/x = ENOTDIR
unlink "" = ENOENT
unlink ld/ = ENOTDIR
unlink ld = ok
stat d = ok
EOT
}

@test "errors of rmdir" {
    ops <<'EOT'
rmdir . = EINVAL
rmdir .. = ENOTEMPTY
rmdir d/.. = ENOTEMPTY
rmdir d = ENOTEMPTY
rmdir one = ENOTDIR
rmdir ld = ENOTDIR
rmdir ld/ = ENOTDIR
rmdir nope = ENOENT
EOT
}

@test "a directory that shows nothing is removed, whatever its layers hold" {
    ops <<'EOT'
rmdir empty = ok
stat empty = ENOENT
rmdir e = ok
rmdir ue = ok
unlink d/a = ok
unlink d/b = ok
rmdir d = ENOTEMPTY
unlink d/c = ok
ls d = ""
rmdir d = ok
stat d = ENOENT
mkdir d = ok
ls d = ""
EOT
    is_opaque d
    upper_is <<'EOT'
d d
W e
W empty
f over
f up
EOT
}

@test "unlinkat with a directory descriptor" {
    ops <<'EOT'
%d open d r,dir
unlinkat %d a = ok
unlinkat %d c = ok
statat %d a = ENOENT
ls d = b
unlinkat cwd e dir = ok
unlinkat cwd one dir = ENOTDIR
EOT
}

@test "an open file outlives its name" {
    ops <<'EOT'
%a open two r
%b open up rw
unlink two = ok
unlink up = ok
read %a = 2
read %b = u
fstat %a = ok
fnlink %b = 0
new two other = ok
fsize %a = 1
EOT
}

@test "the path of an unlinked open file says so" {
    ops <<EOT
%a open two r
%b open up r
unlink two = ok
unlink up = ok
fdlink %a = "$M/two (deleted)"
fdlink %b = "$M/up (deleted)"
EOT
}

@test "a removed directory stays dead for descriptors, even when its name lives again" {
    ops <<'EOT'
%d open d r,dir
unlink d/a
unlink d/b
unlink d/c
rmdir d = ok
openat %d a r = ENOENT
openat %d new w,creat = ENOENT
fls %d = ENOENT
mkdir d = ok
put d/n x = ok
openat %d n r = ENOENT
openat %d new w,creat = ENOENT
mkdirat %d sub = ENOENT
EOT
}

@test "a removed directory that was copied up is that copy for its old descriptors" {
    ops <<'EOT'
%d open e r,dir
chmod e 711 = ok
fmode %d = 0711
rmdir e = ok
fmode %d = 0711
fchmod %d 750 = ok
fmode %d = 0750
fsetx %d user.a v = ok
fgetx %d user.a = v
mkdir e = ok
fchmod %d 700 = ok
mode e = ?
fmode %d = 0700
EOT
}

@test "a removed file that was copied up is that copy for who had it open" {
    ops <<'EOT'
%a open two r
%p open both r,path
append two more = ok
chmod both 600 = ok
unlink two = ok
unlink both = ok
read %a = 2more
fsize %a = 5
fmode %p = 0600
EOT
}

# bats test_tags=root
@test "a removed file of a lower: who may not write it hears that first" {
    mk "$L2/open/kept" x && mk "$L2/open/mine" y && chmod 777 "$L2/open" && chmod 644 "$L2/open/kept"
    chmod 666 "$L2/open/mine"
    ops <<'EOT'
seteuid 12345
%k open open/kept r
%m open open/mine r
unlink open/kept = ok
unlink open/mine = ok
fsetx %k user.a v = EACCES
fsetx %m user.a v = EEXIST
fdpath %k w = EACCES
fdpath %k rw = EACCES
fdpath %m w = EEXIST
EOT
}

@test "a removed directory goes on with the one it was in" {
    ops <<EOT
mkdir ue/in = ok
chdir ue/in
rmdir ../in = ok
rename $M/ue $M/moved = ok
chdir .. = ok
getcwd = $M/moved
EOT
}

@test "rm -rf of a mixed tree leaves nothing, and one whiteout" {
    sh_in 'rm -rf d empty; ls -a d 2>&1 | grep -c . ; ls' >"$T/home/o" || true
    is "$(sed 1d "$T/home/o" | tr '\n' ' ')" "both e ld one over two ue up "
    upper_is <<'EOT'
W d
W empty
f over
d ue
f up
EOT
}

@test "rm -rf of thousands of entries in one pass" {
    mkdir -p "$L2/many/sub"
    (cd "$L2/many" && for i in $(seq 1500); do : >"f$i"; done && cd sub && for i in $(seq 500); do : >"g$i"; done)
    mkdir -p "$U/many" && (cd "$U/many" && for i in $(seq 100); do : >"u$i"; done)
    shows 'rm -rf many && ls -d many 2>/dev/null; ls | grep -c many' <<<0 || {
        out=$(sh_in 'ls')
        has "$out" '^d$' && ! has "$out" '^many$'
    }
}

# bats test_tags=root
@test "the sticky bit of a lower directory is obeyed" {
    mk "$L2/sticky/foreign" x && mk "$L2/sticky/mine" x && chmod 1777 "$L2/sticky"
    chown 12345 "$L2/sticky/mine"
    chmod 777 "$U"
    ops <<'EOT'
seteuid 12345
unlink sticky/foreign = EPERM
rename sticky/foreign x = EPERM
unlink sticky/mine = ok
EOT
}
