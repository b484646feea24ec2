# statfs, watches, locks, another root, and other calls that name files.
load ../lib/fuss

fixture() {
    mk "$L2/f" low && mk "$L1/d/x" x && mk "$L2/d/y" y && ln -s /d/x "$L1/abs"
}

@test "statfs answers for the union" {
    ops <<'EOT'
statfs f = ok
statfs d = ok
statfs nope = ENOENT
EOT
    [ "$(fuss_run stat -f -c %b "$M")" = "$(stat -f -c %b "$U")" ]
}

@test "inotify tells of creations and of writes, across a copy-up" {
    is "$(probe watch "$M")" ok
}

@test "locks of two processes on a lower file exclude each other" {
    shows '(flock -x 8; echo first; sleep 0.7; echo done) 8<f & sleep 0.3; flock -x f echo second; wait' <<'EOT'
first
done
second
EOT
}

# bats test_tags=root
@test "chroot into the union changes what names begin with, to other places it is refused" {
    ops <<'EOT'
chroot nope = ENOENT
chroot / = ok
cat d/x = x
chroot . = ok
cat /d/x = x
cat abs = x
cat ../../f = low
chdir /d = ok
getcwd = /d
chroot /d = ok
getcwd = /
cat /x = x
cat ../y = y
cat /f = ENOENT
mkdir /new 755 = ok
chroot / = ok
ls / = "new x y"
EOT
    [ -d "$U/d/new" ]
    # On purpose other than the kernel: docs/differences.md.
    ops <<'EOT'
chroot /tmp = EPERM
EOT
}

@test "files may not be executed or listed for what they are not" {
    ops <<'EOT'
chdir f = ENOTDIR
chroot f = ?
ls f = ENOTDIR
rmdir f = ENOTDIR
open f r,dir = ENOTDIR
EOT
}

@test "file flags of a lower are read, and set in the copy" {
    ops <<'EOT'
getflags f = ok
setflags f 0x40 = ok
cat f = low
EOT
    [ -e "$U/f" ]
}

# bats test_tags=root
@test "permissions are judged as the program's user, also after a change of user" {
    chmod 700 "$L2/d" "$L1/d" && chmod 600 "$L2/f"
    ops <<'EOT'
seteuid 12345
cat f = EACCES
cat d/x = EACCES
put new x = EACCES
chmod f 666 = EPERM
seteuid 0
cat f = low
chmod f 666 = ok
seteuid 12345
append f x = ok
EOT
}

# bats test_tags=root
@test "a program that dropped its rights writes its own file in a foreign directory" {
    mk "$L2/deep/own/mine" m && chown 12345:12345 "$L2/deep/own/mine" && chmod 711 "$L2/deep" "$L2/deep/own"
    ops <<'EOT'
seteuid 12345
append deep/own/mine ore = ok
cat deep/own/mine = more
chmod deep/own/mine 600 = ok
put deep/own/other x = EACCES
EOT
    is "$(stat -c %u:%a "$U/deep" "$U/deep/own" "$U/deep/own/mine" | tr '\n' ' ')" "0:711 0:711 12345:600 "
}

@test "su and sudo keep working for root, without new rights for others" {
    shows 'grep -c NoNewPrivs /proc/self/status' <<<1
    if [ "$E2E_USER" = root ]; then
        is "$(fuss_run setpriv --reuid=12345 --clear-groups id -u)" 12345
    fi
}
