# Making new names: files, directories, links, nodes; over nothing, over whiteouts, over names.
load ../lib/fuss

fixture() {
    mk "$L1/f" f1 && mk "$L2/g" g2 && mk "$L2/p/q/r/deep" x && mk "$L1/d/1" 1 && mk "$L2/d/2" 2
    mk "$L2/gone" g && wh "$L1" gone
    mk "$L2/gd/inside" i && wh "$U" gd
    ln -s nowhere "$L1/dangling"
    ln -s d "$L1/ld"
}

@test "a new file lands in the upper alone" {
    ops <<'EOT'
put new text = 4
cat new = text
mode new = 0644
put p/q/r/n x = 1
cat p/q/r/n = x
ls p/q/r = "deep n"
EOT
    upper_is <<'EOT'
W gd
f new
d p
d p/q
d p/q/r
f p/q/r/n
EOT
}

@test "O_EXCL: over a whiteout works, over a visible name does not" {
    ops <<'EOT'
open gone w,creat,excl 600 = ok
mode gone = 0600
open f w,creat,excl = EEXIST
open g w,creat,excl = EEXIST
open d w,creat,excl = EEXIST
open dangling w,creat,excl = EEXIST
EOT
    upper_is <<'EOT'
W gd
f gone
EOT
}

@test "O_CREAT through a dangling link makes its target" {
    ops <<'EOT'
put dangling there = 5
cat nowhere = there
type dangling = lnk
EOT
}

@test "O_CREAT on an existing lower file changes nothing by itself" {
    ops <<'EOT'
open g r,creat = ok
cat g = g2
EOT
    upper_is <<'EOT'
W gd
EOT
}

@test "errors of creation" {
    ops <<'EOT'
open d w,creat = EISDIR
open d r,creat = EISDIR
open d/ w,creat = EISDIR
open new/ w,creat = EISDIR
open f/ w,creat = EISDIR
open d r,trunc = EISDIR
open nope/x w,creat = ENOENT
open f/x w,creat = ENOTDIR
mkdir d = EEXIST
mkdir f = EEXIST
mkdir . = EEXIST
mkdir .. = EEXIST
mkdir dangling = EEXIST
mkdir ld/ = EEXIST
mkdir nope/x = ENOENT
mkdir f/x = ENOTDIR
mkdir new/ = ok
symlink x f = EEXIST
symlink x sl/ = ENOENT
symlink "" sl = ENOENT
symlink x "" = ENOENT
mkfifo f = EEXIST
mkdir "" = ENOENT
EOT
}

@test "mkdir over a whiteout does not bring the old content back" {
    ops <<'EOT'
mkdir gd = ok
ls gd = ""
stat gd/inside = ENOENT
put gd/inside new = ok
ls gd = inside
unlink gd/inside = ok
ls gd = ""
EOT
    is_opaque gd
    ops <<'EOT'
ls gd = ""
stat gd/inside = ENOENT
EOT
}

@test "symlinks, fifos and sockets are made over whiteouts and beside lower names" {
    ops <<'EOT'
symlink any/target gone = ok
readlink gone = any/target
mkfifo d/pipe 640 = ok
type d/pipe = fifo
mode d/pipe = 0640
mknod d/sock s = ok
type d/sock = sock
mknod d/reg r = ok
type d/reg = reg
ls d = "1 2 pipe reg sock"
EOT
}

# bats test_tags=root
@test "device nodes: made as root, a 0/0 character device never" {
    ops <<'EOT'
mknod null c 1 3 = ok
rdev null = 1:3
mknod w c 0 0 = EPERM
stat w = ENOENT
EOT
}

@test "the umask applies, in new parents' copies too" {
    chmod 0751 "$L2/p" "$L2/p/q"
    ops <<'EOT'
umask 077
put p/q/new x = ok
mode p/q/new = 0600
mode p = 0751
mode p/q = 0751
mkdir p/q/dir 777 = ok
mode p/q/dir = 0700
EOT
}

@test "copied parents keep owner, mode and times; only the direct parent's mtime changes" {
    chmod 2755 "$L2/p/q/r"
    old "$L2/p/q/r/deep" "$L2/p/q/r" "$L2/p/q" "$L2/p"
    ops <<'EOT'
put p/q/r/n x = ok
mtime p = 981173106.123456789
mtime p/q = 981173106.123456789
mtime p/q/r = !981173106.123456789
mode p/q/r = 2755
EOT
}

# bats test_tags=root
@test "a setgid directory in a lower hands down its group, and the bit to directories" {
    chown 0:12345 "$L2/p/q" && chmod 2775 "$L2/p/q"
    ops <<'EOT'
put p/q/f x = ok
owner p/q/f = 0:12345
mkdir p/q/d = ok
owner p/q/d = 0:12345
mode p/q/d = 2755
EOT
}

@test "a default ACL in a lower directory is inherited" {
    setfacl -d -m u::rw,g::rw,o::-,u:12345:rw,m::rw "$L2/p/q"
    ops <<'EOT'
umask 077
put p/q/f x = ok
mode p/q/f = 0640
listx p/q/f = system.posix_acl_access
EOT
}

@test "O_TMPFILE and its name given later" {
    ops <<'EOT'
%t open p/q rw,tmpfile 600 = ok
write %t hidden = 6
ls p/q = r
linkat %t "" cwd p/q/named empty = ?
ls p/q = ?
EOT
    sh_in ':' # the union is still sound
    probe tmpfile "$M/p/q"
}

# bats test_tags=user
@test "O_TMPFILE in a directory behind one that was closed since" {
    shows 'cd p/q; chmod 600 ..; umask 027
        python3 -c "import os; f = os.open(\".\", os.O_TMPFILE | os.O_RDWR, 0o666); print(oct(os.fstat(f).st_mode))"' <<<0o100640
    chmod 755 "$U/p"
}

@test "O_TMPFILE errors" {
    ops <<'EOT'
open f rw,tmpfile = ENOTDIR
open nope rw,tmpfile = ENOENT
open p r,tmpfile = EINVAL
EOT
}

@test "two creators of one name: exactly one wins O_EXCL" {
    probe exclusive "$M" "$M/d" "$M/gone"
}

@test "a name is created anew after it was removed, again and again" {
    ops <<'EOT'
unlink f = ok
new f one = ok
unlink f = ok
new f two = ok
cat f = two
rename f f2 = ok
new f three = ok
cat f2 = two
cat f = three
EOT
    upper_is <<'EOT'
f f
f f2
W gd
EOT
}

@test "the upper may be missing its parents: a fresh upper is filled as needed" {
    sh_in 'mkdir -p x/y/z && echo 1 >x/y/z/f && cp x/y/z/f p/q/copy && cat p/q/copy' >"$T/home/o"
    is "$(cat "$T/home/o")" 1
    is "$(cat "$U/p/q/copy")" 1
}
