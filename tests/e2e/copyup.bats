# A write to a lower object happens in a copy in the upper, which keeps everything.
load ../lib/fuss

fixture() {
    mk "$L2/f" content && mk "$L2/d/e/f" deep && ln -s f "$L2/link" && mkfifo "$L2/pipe"
    chmod 0640 "$L2/f"
    setfattr -n user.color -v blue "$L2/f"
    mk "$L1/top" t
    old "$L2/f" "$L2/link" "$L2/d/e/f" "$L2/d/e" "$L2/d"
}

@test "every call that writes copies the file up" {
    for op in "open f w" "open f rw" "open f r,trunc" "truncate f 3" "truncate f 7" "chmod f 640" \
        "utimes f 1" "setx f user.n v" "rmx f user.color" "link f f2" "rename f f2" "append f x"; do
        rm -rf "$U" && mkdir "$U"
        [ "$E2E_USER" = root ] || [ "$(id -u)" != 0 ] || chown "$E2E_USER_NAME:" "$U"
        ops <<<"$op = ok"
        [ -n "$(find "$U" -type f)" ] || { echo "not copied up by: $op" && return 1; }
    done
}

@test "calls that only look do not" {
    ops <<'EOT'
open f r = ok
open f path = ok
open f r,creat = ok
access f w = ok
stat f = ok
getx f user.color = blue
readlink link = f
getflags f = ?
setx f user.n v replace = ENODATA
EOT
    sh_in 'cat f >/dev/null; flock -n f true 2>/dev/null || true' || true
    rm -f "$U/f"
    upper_is </dev/null
}

@test "data, mode, times and attributes survive" {
    ops <<'EOT'
chmod f 640 = ok
cat f = content
mode f = 0640
mtime f = 981173106.123456789
getx f user.color = blue
size f = 7
EOT
    is "$(cat "$U/f")" content
    is "$(getfattr --only-values -n user.color "$U/f" 2>/dev/null)" blue
    is "$(stat -c %y "$U/f")" "$(stat -c %y "$L2/f")"
}

@test "parents are copied with their times and modes" {
    chmod 0711 "$L2/d" && chmod 1777 "$L2/d/e"
    old "$L2/d/e" "$L2/d"
    ops <<'EOT'
append d/e/f more = ok
mtime d = 981173106.123456789
mtime d/e = 981173106.123456789
mode d = 0711
mode d/e = 1777
cat d/e/f = deepmore
EOT
    is "$(stat -c '%a %y' "$U/d")" "$(stat -c '%a %y' "$L2/d")"
    is "$(stat -c '%a %y' "$U/d/e")" "$(stat -c '%a %y' "$L2/d/e")"
}

# bats test_tags=root
@test "owner, suid and file capabilities survive" {
    chown 12345:54321 "$L2/f" && chmod 6755 "$L2/f"
    chown -h 111:222 "$L2/link"
    ops <<'EOT'
utimes f 5 6 = ok
owner f = 12345:54321
mode f = 6755
mtime f = 5.000000006
lchown link 112 -1 = ok
owner link = 112:222
mtime link = 981173106.123456789
readlink link = f
chown f 1 1 = ok
mode f = 0755
EOT
}

# bats test_tags=root
@test "a stranger's chown to nobody is refused where set-id bits would go, and copies nothing" {
    mk "$L2/s/suid" s && mk "$L2/s/sgid" g && mk "$L2/s/lock" l && mk "$L2/s/plain" p
    chmod 4755 "$L2/s/suid" && chmod 2755 "$L2/s/sgid" && chmod 2745 "$L2/s/lock"
    ops <<'EOT'
seteuid 12345
chown s/suid -1 -1 = EPERM
chown s/sgid -1 -1 = EPERM
chown s/plain -1 -1 = ok
seteuid 0
chown s/lock -1 -1 = ok
mode s/lock = 2745
chown s/sgid -1 -1 = ok
mode s/sgid = 0755
EOT
    [ ! -e "$U/s/suid" ]
}

@test "ACLs survive" {
    setfacl -m u:12345:rwx,m::rwx "$L2/f"
    ops <<'EOT'
append f x = ok
mode f = 0670
listx f = "system.posix_acl_access user.color"
EOT
    is "$(getfacl -cp "$U/f")" "$(getfacl -cp "$L2/f")"
}

@test "holes stay holes" {
    truncate -s 64M "$L2/sparse"
    printf data | dd of="$L2/sparse" bs=1 seek=33554432 conv=notrunc status=none
    sh_in 'printf x >>sparse'
    is "$(stat -c %s "$U/sparse")" 67108865
    [ "$(stat -c %b "$U/sparse")" -lt 20000 ] # the kernel copies up to 8 MiB around data
    cmp -n 67108864 "$U/sparse" "$L2/sparse"
}

@test "a large file is copied whole" {
    head -c 5000000 /dev/urandom >"$L2/big"
    sh_in 'printf x >>big'
    is "$(stat -c %s "$U/big")" 5000001
    cmp -n 5000000 "$U/big" "$L2/big"
}

@test "fifos and symlinks are copied up by a change of their metadata" {
    ops <<'EOT'
chmod pipe 600 = ok
mode pipe = 0600
type pipe = fifo
lutimes link 9 8 = ok
mtime link = 9.000000008
readlink link = f
mtime f = 981173106.123456789
EOT
    upper_is <<'EOT'
l link
p pipe
EOT
}

# The kernel copies nothing here: its pipe belongs to the union's own inode. Ours is the real node's,
# and writing changes that node's times, so a copy in the upper may serve instead of the lower.
@test "writer and reader meet at a lower fifo, whose times do not change" {
    shows 'cat pipe & echo met >pipe; wait' <<<met
    shows '(sleep 0.3; echo again >pipe) & cat pipe; wait' <<<again
    [ "$E2E_BACKEND" != oracle ] || upper_is </dev/null
}

@test "hard links in a lower are broken by a write" {
    ln "$L2/f" "$L2/f2"
    ops <<'EOT'
nlink f = 2
append f2 -more = ok
cat f2 = content-more
cat f = content
EOT
}

@test "a place of a fifo or a symlink follows its copy" {
    ops <<'EOT'
%p open pipe path
%l open link path,nofollow
chmod pipe 604 = ok
fmode %p = 0604
rename link l2 = ok
rename pipe p2 = ok
chmod p2 640 = ok
fmode %p = 0640
ftype %l = lnk
EOT
}

@test "a place of one of several lower names follows that name" {
    ln "$L2/f" "$L2/f2"
    ops <<'EOT'
%a open f path
%b open f2 path
fnlink %a = 2
rename f d/g = ok
fnlink %a = 1
fnlink %b = 2
chmod d/g 604 = ok
fmode %a = 0604
fmode %b = 0640
EOT
}

@test "a directory's metadata changes in the upper; its content stays merged" {
    ops <<'EOT'
chmod d 700 = ok
mode d = 0700
mtime d = 981173106.123456789
ls d = e
setx d user.note here = ok
getx d user.note = here
cat d/e/f = deep
EOT
    not_opaque d
}

@test "metadata calls on a read-only descriptor of a lower file act on the copy" {
    ops <<'EOT'
%a open f r
fchmod %a 600 = ok
mode f = 0600
fmode %a = 0600
%b open d/e/f r
futimens %b 77 5 = ok
mtime d/e/f = 77.000000005
fmtime %b = 77.000000005
%c open top r
fsetx %c user.k v = ok
getx top user.k = v
fgetx %c user.k = v
frmx %c user.k = ok
getx top user.k = ENODATA
%d open d r,dir
fchmod %d 711 = ok
mode d = 0711
%e open f r
ftruncate %e 0 = EINVAL
write %e x = EBADF
EOT
}

# bats test_tags=root
@test "fchown on a read-only descriptor of a lower file acts on the copy" {
    ops <<'EOT'
%a open f r
fchown %a 77 88 = ok
owner f = 77:88
fowner %a = 77:88
EOT
}

@test "a descriptor opened before the copy sees new data and metadata" {
    ops <<'EOT'
%a open f r
append f -new = ok
read %a = content-new
fsize %a = 11
%b open d/e/f r
truncate d/e/f 2 = ok
fsize %b = 2
read %b = de
EOT
}

@test "so does one that was opened without following symlinks" {
    ops <<'EOT'
%a open f r,nofollow
append f -new = ok
read %a = content-new
fsize %a = 11
EOT
}

@test "a truncating open needs no old data but keeps the rest" {
    ops <<'EOT'
put f new = ok
cat f = new
mode f = 0640
getx f user.color = blue
open d/e/f w,trunc = ok
size d/e/f = 0
EOT
}

@test "the copy is written by O_PATH descriptors' magic links too" {
    ops <<'EOT'
%a open f path
fdchmod %a 604 = ok
mode f = 0604
%b open d/e/f path
%w fdpath %b rw = ok
write %w DEEP = 4
cat d/e/f = DEEP
%c open top r
%x fdpath %c w = ok
write %x T = 1
cat top = T
EOT
}

@test "fchmodat2 and the empty path" {
    ops <<'EOT'
%a open f path
fchmodat2 %a "" 604 empty = ok
mode f = 0604
%l open link path,nofollow
fchmodat2 %l "" 604 empty = EOPNOTSUPP
readlinkat %l "" = f
fchmodat2 cwd d/e/f 600 none = ok
mode d/e/f = 0600
EOT
}

@test "directory descriptors opened before the copy keep working" {
    ops <<'EOT'
%d open d/e r,dir
fls %d = f
put d/e/n x = ok
catat %d n = x
rewind %d
fls %d = "f n"
%n openat %d m w,creat = ok
ls d/e = "f m n"
unlinkat %d f = ok
ls d/e = "m n"
mkdirat %d sub = ok
ls d/e = "m n sub"
EOT
}

@test "a copy that cannot be made leaves nothing behind" {
    chmod 0555 "$L2/d/e"
    ops <<'EOT'
open f/x w,creat = ENOTDIR
setx f trusted.x v = ?
setx f nonsense v = EOPNOTSUPP
EOT
    [ ! -e "$U/d" ]
}

# bats test_tags=user
@test "an ordinary user may not write what the merged view forbids, and nothing is copied" {
    chmod 0444 "$L2/d/e/f"
    chmod 0555 "$L2/d/e"
    ops <<'EOT'
open d/e/f w = EACCES
put d/e/new x = EACCES
unlink d/e/f = EACCES
rename d/e/f moved = EACCES
access d/e/f w = EACCES
access d/e w = EACCES
EOT
    upper_is </dev/null
}

# bats test_tags=user
@test "a foreign file is not writable for an ordinary user" {
    seal_lowers
    chown 0:0 "$L2/f"
    rm -f "$T"/seals/%*
    ops <<'EOT'
open f w = EACCES
chmod f 600 = EPERM
truncate f 0 = EACCES
utimes f 1 1 = EPERM
EOT
    upper_is </dev/null
}
