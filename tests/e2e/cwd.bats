# The working directory in the union.
load ../lib/fuss

fixture() {
    mk "$L1/a/b/c" c && mk "$L2/a/only2" 2 && mk "$U/up/x" x && mkdir "$L2/gone"
    ln -s a/b "$L1/lab"
}

@test "chdir, fchdir and getcwd say union paths" {
    ops <<EOT
getcwd = $M
chdir a/b = ok
getcwd = $M/a/b
chdir .. = ok
getcwd = $M/a
ls . = "b only2"
chdir ../lab = ok
getcwd = $M/a/b
%d open ../../up r,dir
fchdir %d = ok
getcwd = $M/up
cat x = x
%p open $M/a path
fchdir %p = ok
getcwd = $M/a
chdir nope = ENOENT
chdir only2 = ENOTDIR
%f open only2 r
fchdir %f = ENOTDIR
chdir $M/../.. = ok
getcwd = $(dirname "$(dirname "$M")")
EOT
}

@test "the cwd stays when its directory is copied up" {
    ops <<EOT
chdir a/b
put new n
getcwd = $M/a/b
ls . = "c new"
cat ../b/new = n
chmod . 700
ls . = "c new"
EOT
}

@test "a removed cwd" {
    ops <<EOT
chdir gone
rmdir ../gone = ok
getcwd = ENOENT
put x y = ENOENT
mkdir d = ENOENT
stat . = ok
readlink /proc/self/cwd = "$M/gone (deleted)"
chdir .. = ok
getcwd = $M
EOT
}

@test "the last word of a path in a removed cwd" {
    ops <<EOT
chdir gone
rmdir ../gone = ok
rmdir . = EINVAL
rmdir .. = ENOTEMPTY
rmdir ../ = ENOTEMPTY
unlink . = EISDIR
mkdir . = EEXIST
mkdir .. = EEXIST
rename . $M/x = EBUSY
rename $M/up . = EBUSY
rename $M/up x = ENOENT
rename $M/up ./x = ENOENT
rename $M/up/.. ./x = EBUSY
rename $M/up x/ = ENOENT
rename $M x/ = EXDEV
link $M/up/x . = EEXIST
truncate . 3 = EISDIR
stat ./. = ok
open . rw = EISDIR
open . r,creat = EISDIR
%d open . r,dir
fid %d = ?
%p open ./ path
statat %d .. = ok
statat %p up = ENOENT
openat2 cwd $M/up/x r beneath = EXDEV
openat2 cwd x r beneath = ENOENT
openat2 cwd .. path beneath = EXDEV
openat2 cwd ../up path inroot = ENOENT
openat2 cwd /.. path inroot = ok
EOT
}

@test "what a removed cwd still is" {
    mkdir "$U/also"
    ops <<EOT
chdir gone
rmdir ../gone = ok
access . rw = ok
chdir . = ok
chdir ././ = ok
chdir x = ENOENT
listx . = ""
getx . user.a = ENODATA
open . rw,tmpfile 600 = ENOTDIR
stat . = ok
getcwd = ENOENT
chdir $M/also = ok
rmdir ../also = ok
access . w = ok
chdir . = ok
listx . = ""
setx . user.a 1 = ok
getx . user.a = 1
getcwd = ENOENT
EOT
}

# bats test_tags=user
@test "fchdir to a directory that was closed since" {
    ops <<EOT
%d open a/b r,dir
chmod a/b 600 = ok
fchdir %d = EACCES
chmod a/b 700 = ok
fchdir %d = ok
getcwd = $M/a/b
EOT
}

@test "a removed cwd does not live again with its name" {
    ops <<'EOT'
chdir gone
rmdir ../gone
mkdir ../gone
put ../gone/n x
stat n = ENOENT
put x y = ENOENT
EOT
}

# bats test_tags=fuss
@test "a cwd that was moved and then removed leads up from where it was last" {
    ops <<EOT
chdir gone
rename ../gone ../up/moved = ok
getcwd = $M/up/moved
rmdir ../moved = ok
getcwd = ENOENT
readlink /proc/self/cwd = "$M/up/moved (deleted)"
chdir .. = ok
getcwd = $M/up
EOT
}

# bats test_tags=fuss
@test "a cwd that is moved on, alone or with what it is in, is known where it is" {
    ops <<EOT
chdir gone
rename ../gone ../up/moved = ok
getcwd = $M/up/moved
put n x = ok
rename ../moved ../other = ok
cat n = x
stat ../other/n = ok
rename ../../up ../../down = ok
cat n = x
getcwd = $M/down/other
EOT
}

# bats test_tags=user
@test "a removed directory that may not be searched leads nowhere" {
    ops <<EOT
%d open gone r,dir
%f open a/only2 r
chdir gone
statat %d .. = ok
chmod . 600 = ok
rmdir $M/gone = ok
unlink $M/a/only2 = ok
statat %d x = EACCES
statat %d .. = EACCES
stat ../up = EACCES
mkdir x = EACCES
statat %f x = ENOTDIR
fchmod %d 700 = ok
statat %d x = ENOENT
statat %d ../up = ok
mkdir x = ENOENT
chdir .. = ok
getcwd = $M
EOT
}

@test "children inherit the cwd" {
    shows 'cd a/b; pwd -P | sed "s|$M|M|"; sh -c "pwd -P" | sed "s|$M|M|"; (cd ../..; pwd -P) | sed "s|$M|M|"; cat c' <<'EOT'
M/a/b
M/a/b
M
c
EOT
}

@test "fuss started from inside the mountpoint: the command stands in the union" {
    mkdir -p "$M/a/b" 2>/dev/null
    RUN_CWD=$M/a/b
    [ "$E2E_BACKEND" != oracle ] || RUN_CWD=$M/a
    fuss_run cat "$M/a/b/c" >/dev/null
    is "$(fuss_run "$PROG/ops" -p <<<'getcwd' | sed 's/.*-> ok //')" "$RUN_CWD"
    if [ "$E2E_BACKEND" != oracle ]; then
        is "$(fuss_run cat c ../only2)" c2
    fi
}

@test "relative commands and paths from a cwd outside" {
    RUN_CWD=$T
    is "$(fuss_run cat m/a/b/c)" c
    is "$(fuss_run sh -c 'cd m/a && cat b/c ../../m/up/x')" cx
}

# bats test_tags=user
@test "a working directory goes on working behind a directory closed since" {
    sh_in 'cd a/b; chmod 0666 ..; echo hi >new; mkdir d; cat new c; ls; mv new d/n; ln -s d/n s; cat s 2>&1; readlink s; rm c; ls . d' >"$T/home/o"
    is "$(cat "$T/home/o")" "hi
cc
d
new
hi
d/n
.:
d
s

d:
n"
    is "$(stat -c %a "$U/a")" 666
    chmod 755 "$U/a"
    is "$(cat "$U/a/b/d/n")" hi
    [ ! -e "$U/a/b/new" ] && [ ! -f "$U/a/b/c" ]
}

@test "fifos and sockets are opened behind a directory closed since" {
    mkfifo "$L1/a/b/p"
    ops <<'EOT'
chdir a/b
mknod s s = ok
chmod .. 0666 = ok
%r open p r,nonblock
%w open p w,nonblock
write %w x = ok
read %r = x
open s rw = ENXIO
EOT
    chmod 755 "$U/a"
}

@test "a removed working directory with an upper part is known by its own name" {
    sh_in 'touch a/n; cd a; rm -r ../a; readlink /proc/self/cwd; cat ../up/x; cat ../up/x/y 2>/dev/null || echo no' >"$T/home/o"
    is "$(cat "$T/home/o")" "$M/a (deleted)
xno"
}
