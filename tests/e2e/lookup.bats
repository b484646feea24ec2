# Which object a path names: layers, whiteouts, opaque directories, symlinks, dots.
load ../lib/fuss

fixture() {
    mk "$U/a" upper-a && mk "$L1/a" l1-a && mk "$L2/a" l2-a
    mk "$L1/b" l1-b && mk "$L2/b" l2-b && mk "$L2/c" l2-c
    mk "$U/d/u" u && mk "$L1/d/1" 1 && mk "$L2/d/2" 2
    mk "$L1/file-over-dir" plain && mk "$L2/file-over-dir/x" x
    mkdir "$L1/dir-over-file" && mk "$L2/dir-over-file" f
    mkdir -p "$U/cut" "$L2/cut" && mk "$L1/cut" file && mk "$L2/cut/deep" deep
    mk "$L2/gone" g && wh "$L1" gone
    mk "$L2/gonedir/f" f && wh "$U" gonedir
    mk "$L2/back" old && wh "$L1" back && mk "$U/back" new
    mk "$L1/op/l1" 1 && mk "$L2/op/l2" 2 && opq "$L1/op"
    mkdir -p "$U/op"
    ln -s d "$L1/ld" && ln -s nowhere "$L1/dangling" && ln -s loop2 "$L1/loop1" &&
        ln -s loop1 "$L1/loop2" && ln -s a "$L1/la"
    mkdir -p "$L2/ld/hidden"
}

@test "the upper wins over the first lower, which wins over the second" {
    ops <<'EOT'
cat a = upper-a
cat b = l1-b
cat c = l2-c
stat nope = ENOENT
ls d = "1 2 u"
cat d/1 = 1
cat d/2 = 2
cat d/u = u
EOT
}

@test "a non-directory hides everything below it" {
    ops <<'EOT'
type file-over-dir = reg
stat file-over-dir/x = ENOTDIR
type dir-over-file = dir
ls dir-over-file = ""
ls cut = ""
stat cut/deep = ENOENT
EOT
}

@test "whiteouts hide names and whole directories" {
    ops <<'EOT'
stat gone = ENOENT
open gone r = ENOENT
unlink gone = ENOENT
readlink gone = ENOENT
getx gone user.x = ENOENT
stat gonedir = ENOENT
stat gonedir/f = ENOENT
cat back = new
EOT
    shows 'ls' <<'EOT'
a
b
back
c
cut
d
dangling
dir-over-file
file-over-dir
la
ld
loop1
loop2
op
EOT
}

@test "an opaque directory cuts off the layers below it" {
    ops <<'EOT'
ls op = l1
stat op/l2 = ENOENT
EOT
}

@test "errors of the walk come in the kernel's order" {
    ops <<'EOT'
stat nope/x = ENOENT
stat nope/../d = ENOENT
stat a/.. = ENOTDIR
stat a/. = ENOTDIR
stat a/ = ENOTDIR
open a/ r = ENOTDIR
stat "" = ENOENT
open "" r = ENOENT
open d r,dir = ok
open a r,dir = ENOTDIR
stat NULL = EFAULT
stat d/../a = ok
stat d/./1 = ok
stat .//d///1 = ok
EOT
}

@test "symlinks are followed in the union and hide what lies below them" {
    ops <<'EOT'
type ld = lnk
ls ld = "1 2 u"
stat ld/hidden = ENOENT
lstat ld/ = ok
readlink ld/ = EINVAL
readlink ld = d
readlink a = EINVAL
cat la = upper-a
lstat dangling = ok
stat dangling = ENOENT
stat loop1 = ELOOP
open la r,nofollow = ELOOP
open la path,nofollow = ok
EOT
}

@test "a chain of 40 links is followed, 41 are not" {
    mk "$L1/x0" end
    for i in $(seq 41); do ln -s "x$((i - 1))" "$L1/x$i"; done
    ops <<'EOT'
cat x40 = end
stat x41 = ELOOP
EOT
}

@test "absolute and relative links cross the border of the union both ways" {
    ln -s "$M/d/2" "$L2/abs-in"
    ln -s "$T/home/out" "$L1/abs-out"
    ln -s ../home/out "$L1/rel-out"
    ln -s ../../m/c "$L1/d/out-and-in"
    mk "$T/home/out" outside
    ln -s "$M/d/1" "$T/home/into"
    fuss_run cat "$M/abs-in" "$M/abs-out" "$M/rel-out" "$M/d/out-and-in" "$T/home/into" >"$T/home/got"
    is "$(cat "$T/home/got")" 2outsideoutsidel2-c1
}

@test "dots at the root leave the union and come back by name" {
    ops <<'EOT'
$p id ..
chdir ..
id . = $p
cat m/a = upper-a
chdir m
cat a = upper-a
cat ../m/d/../b = l1-b
chdir d
cat ../../m/d/2 = 2
EOT
}

@test "directories deeper than any path" {
    mkdir "$L1/in"
    probe deep "$M"
    probe deep "$M/in"
    is "$(find "$U/in" "$L1/in" | wc -l) $(find "$U" -name 'ddd*' | wc -l)" "2 0"
}

@test "long names and long paths have the native limits" {
    long=$(printf 'n%.0s' $(seq 255))
    [ "$E2E_STYLE" != fileprefix ] || long=${long:4}
    mk "$L1/$long" yes
    dots=$(printf './%.0s' $(seq 2030))
    ops <<EOT
cat $long = yes
stat ${long}xxxxx = ENAMETOOLONG
cat ${dots}a = upper-a
stat ${dots}${dots}a = ENAMETOOLONG
EOT
}

@test "a real path longer than PATH_MAX is reached by a virtual one that is not" {
    sub=$(printf 'd%.0s' $(seq 200))
    deep=$(for i in $(seq 19); do printf '%s/' "$sub"; done)
    (
        cd "$L1"
        for i in $(seq 19); do mkdir "$sub" && cd "$sub"; done
        echo far >f
    )
    MOUNT=/m-of-fuss
    [ "$E2E_BACKEND" != oracle ] || MOUNT=$T/m
    OPS_CWD=$MOUNT ops <<EOT
type ${deep}f = reg
open ${deep}f r = ok
put ${deep}new text = ok
cat ${deep}new = text
rename ${deep}f ${deep}g = ok
stat ${deep}f = ENOENT
EOT
    rmdir /m-of-fuss 2>/dev/null || true
}

@test "a path as long as the kernel takes one, said from the mountpoint, is a name like any" {
    sub=$(printf 'd%.0s' $(seq 127)) last=$(printf 'l%.0s' $(seq 126))
    deep=$(for i in $(seq 31); do printf '%s/' "$sub"; done)
    (
        cd "$L1"
        for i in $(seq 31); do mkdir "$sub" && cd "$sub"; done
        printf low >f
    )
    ops <<EOT
put $deep$last text = ok
cat $deep$last = text
chmod $deep$last 0600 = ok
rename $deep$last a = ok
rename a $deep$last = ok
open $deep$last rw,creat,excl = EEXIST
open $deep$last w,append = ok
open $deep r,dir = ok
unlink $deep$last = ok
open $deep$last rw,creat,excl 0644 = ok
open $deep rw,tmpfile 0600 = ok
mkdir $deep$last 0755 = EEXIST
cat ${deep}f = low
put ${deep}f new = ok
cat ${deep}f = new
stat $deep${last}x = ENOENT
stat $deep${last}xx = ENAMETOOLONG
EOT
}

@test "edits of a lower from outside are seen at once" {
    run_later() { sh_in 'while [ ! -e "$T/home/go" ]; do sleep 0.05; done; cat c; ls d'; }
    seal_lowers
    run_later >"$T/home/out" &
    sleep 0.5
    unseal
    mk "$L2/d/later" l
    touch "$T/home/go"
    wait $!
    is "$(tr "\n" " " <"$T/home/out")" "l2-c1 2 later u "
}

@test "access judges the merged view" {
    ops <<'EOT'
access a r = ok
access a w = ok
access c w = ok
access c x = EACCES
access d rwx = ok
access gone r = ENOENT
access la w nofollow = ok
access c rw eaccess = ok
EOT
}

# bats test_tags=chardev
@test "names that look like markers are ordinary with device whiteouts" {
    mk "$L1/.wh.c" not-a-marker
    ops <<'EOT'
cat c = l2-c
cat .wh.c = not-a-marker
put .wh.new x = ok
cat .wh.new = x
EOT
}

# bats test_tags=fileprefix,fuss
@test "names that look like markers are refused and hidden with file whiteouts" {
    ops <<'EOT'
put .wh.new x = EINVAL
mkdir .wh.d = EINVAL
symlink a .wh.l = EINVAL
link a .wh.h = EINVAL
rename a .wh.r = EINVAL
mkfifo .wh.p = EINVAL
stat .wh.gone = ENOENT
EOT
}

@test "device whiteouts are understood in either style" {
    mk "$L2/z" z && mknod "$L1/z" c 0 0
    ops <<'EOT'
stat z = ENOENT
EOT
    shows 'ls | grep -c z || true' <<<0
}
