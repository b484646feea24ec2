# Extended attributes; those of overlays stay hidden.
load ../lib/fuss

fixture() {
    mk "$L2/f" x && setfattr -n user.a -v 1 "$L2/f" && mk "$U/u" u && mkdir "$L2/d" &&
        ln -s f "$L2/ln"
    setfattr -n user.da -v dir "$L2/d"
}

@test "get, set, list and remove, by path, link and descriptor" {
    ops <<'EOT'
getx f user.a = 1
setx f user.b 2 = ok
listx f = "user.a user.b"
rmx f user.a = ok
listx f = user.b
getx f user.a = ENODATA
rmx f user.a = ENODATA
setx u user.c 3 create = ok
setx u user.c 4 create = EEXIST
setx u user.c 4 replace = ok
setx u user.z 4 replace = ENODATA
getx u user.c = 4
%f open f r
fgetx %f user.b = 2
fsetx %f user.n 5 = ok
flistx %f = "user.b user.n"
frmx %f user.n = ok
getx ln user.b = 2
lgetx ln user.b = ENODATA
llistx ln = ""
getx d user.da = dir
setx d user.db x = ok
listx d = "user.da user.db"
%d open d r,dir
flistx %d = "user.da user.db"
getx nope user.a = ENOENT
getx f nonsense = EOPNOTSUPP
lsetx ln user.x y = EPERM
EOT
}

@test "the O_PATH descriptor has none to give" {
    ops <<'EOT'
%p open f path
fgetx %p user.a = EBADF
flistx %p = EBADF
fsetx %p user.q v = EBADF
EOT
}

@test "a short buffer and a size query tell the filtered size" {
    probe xattrs "$M/f" "$M/d"
}

# bats test_tags=root
@test "marks of overlays in the layers are not shown" {
    mkdir "$L2/o" && setfattr -n trusted.overlay.opaque -v y "$L2/o"
    setfattr -n trusted.overlay.impure -v y "$L2/d"
    ops <<'EOT'
listx o = ""
getx o trusted.overlay.opaque = ENODATA
listx d = user.da
chmod d 700 = ok
listx d = user.da
mkdir n
rename n m
listx m = ""
append f x
listx f = user.a
EOT
}

# bats test_tags=root
@test "a program cannot mark a directory opaque by itself" {
    mk "$L2/d/inside" i
    ops <<'EOT'
setx d trusted.overlay.opaque y = ?
ls d = inside
EOT
    ops <<'EOT'
ls d = inside
EOT
    not_opaque d
}

# bats test_tags=root
@test "trusted attributes of one's own pass" {
    setfattr -n trusted.mine -v t "$L2/f"
    ops <<'EOT'
getx f trusted.mine = t
append f x
getx f trusted.mine = t
setx f trusted.other o = ok
listx f = "trusted.mine trusted.other user.a"
EOT
}

# bats test_tags=user
@test "trusted attributes are not for ordinary users" {
    ops <<'EOT'
setx f trusted.mine t = EPERM
getx f trusted.mine = ENODATA
EOT
}

@test "an object that is gone: what may not be done is said before what cannot be" {
    chmod 444 "$L2/f" && mk "$L2/w" w && chmod 666 "$L2/w"
    ops <<'EOT'
%f open f r
%w open w r
unlink f = ok
unlink w = ok
fsetx %w foo.x v = EEXIST
fsetx %w user.x v = EEXIST
fsetx %w system.x v = EEXIST
frmx %w foo.x = EOPNOTSUPP
frmx %w system.x = EOPNOTSUPP
frmx %w user.x = ENODATA
fsetx %f system.x v = EEXIST
EOT
}

# bats test_tags=user
@test "an object that is gone: an ordinary user's rights" {
    chmod 444 "$L2/f"
    ops <<'EOT'
%f open f r
unlink f = ok
fsetx %f foo.x v = EACCES
frmx %f foo.x = EACCES
fsetx %f user.x v = EACCES
fsetx %f trusted.x v = EPERM
fsetx %f security.x v = EPERM
frmx %f security.x = EPERM
EOT
}
