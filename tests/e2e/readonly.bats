# No upper: a union that cannot be changed.
load ../lib/fuss

fixture() {
    UPPER=
    mk "$L1/f" f && mk "$L2/g" g && mk "$L2/d/x" x && mk "$L1/d/y" y && mkfifo "$L1/p" &&
        ln -s f "$L1/ln" && setfattr -n user.a -v 1 "$L1/f"
    chmod 755 "$L1/f"
}

@test "everything is readable" {
    ops <<'EOT'
cat f = f
cat g = g
ls d = "x y"
ls . = "d f g ln p"
readlink ln = f
getx f user.a = 1
access f rx = ok
EOT
}

@test "changes are EROFS" {
    ops <<'EOT'
open f w = EROFS
open f rw = EROFS
open f r,trunc = EROFS
open new w,creat = EROFS
open d rw,tmpfile = EROFS
mkdir n = EROFS
mkfifo n = EROFS
symlink a n = EROFS
unlink f = EROFS
unlink nope = EROFS
rmdir d = EROFS
rename f n = EROFS
rename f f = EROFS
rename nope n = EROFS
rename f d = EROFS
link f n = EROFS
chmod f 600 = EROFS
chown f -1 -1 = EROFS
utimes f 1 = EROFS
truncate f 0 = EROFS
setx f user.b 1 = EROFS
rmx f user.a = EROFS
rmx f user.none = EROFS
access f w = EROFS
access d w = EROFS
%r open f r
fchmod %r 600 = EROFS
futimens %r 1 = EROFS
fsetx %r user.x 1 = EROFS
setflags f 0x20 = EROFS
EOT
}

@test "a fifo that is open for writing is a lower's all the same" {
    mkfifo -m 666 "$L2/pipe"
    ops <<'EOT'
%p open pipe rw
futimens %p 1 = EROFS
fchmod %p 600 = EROFS
fchown %p -1 -1 = EROFS
EOT
}

@test "errors that win over EROFS" {
    ops <<'EOT'
mkdir d = EEXIST
mkdir f = EEXIST
symlink a f = EEXIST
link f g = EEXIST
open f w,creat,excl = EEXIST
mkdir nope/x = ENOENT
open nope/x w,creat = ENOENT
chmod nope 600 = ENOENT
open nope w = ENOENT
link nope n = ENOENT
open d w = EISDIR
truncate d 0 = EISDIR
rmdir . = EINVAL
EOT
}

@test "what stays allowed" {
    mk "$L1/s" '#!/bin/sh
echo ran'
    chmod 755 "$L1/s"
    ops <<'EOT'
open f r,creat = ok
access p w = ok
open p rw = ok
%f open f r
flock %f ex = ok
EOT
    is "$(fuss_run "$M/s")" ran
}

@test "one lower is enough" {
    LOWER=$L1
    ops <<'EOT'
cat f = f
ls d = y
unlink f = EROFS
EOT
}
