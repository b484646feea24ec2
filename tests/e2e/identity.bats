# (st_dev, st_ino) is one and the same in stat, lstat, fstat, statx and listings, and does not
# change when a file is copied up or renamed.
load ../lib/fuss

fixture() {
    mk "$L2/f" f && mk "$L2/d/x" x && mk "$L1/d/y" y && mk "$U/u" u && ln -s f "$L2/ln" &&
        mkfifo "$L2/p"
    mk "$L1/only/a/b/c" c
}

@test "all calls agree on every object of a tree" {
    probe identity "$M"
}

# bats test_tags=fuss
@test "all calls agree where the upper was filled by hand" {
    mk "$U/d/z" z && mk "$U/only/a/b/c" new && mk "$U/only/n" n
    probe identity "$M"
}

@test "identity is constant over copy-up, rename and removal of others" {
    ops <<'EOT'
$f id f
$x id d/x
$d id d
$u id u
append f more
id f = $f
%a open f r
fid %a = $f
statxid f = $f
dirent . f = $f
rename f g
id g = $f
dirent . g = $f
fid %a = $f
chmod d/x 600
id d/x = $x
chmod d 700
id d = $d
dirent . d = $d
rename u u2
id u2 = $u
EOT
    probe identity "$M"
}

@test "fifos and symlinks keep theirs within a session" {
    ops <<'EOT'
$l id ln
$p id p
lutimes ln 1 1
id ln = $l
chmod p 600
id p = $p
rename ln ln2
id ln2 = $l
rename p p2
id p2 = $p
dirent . p2 = $p
EOT
}

@test "a descriptor and its path agree before and after the copy" {
    ops <<'EOT'
%a open f r
%d open only/a r,dir
$f fid %a
$d fid %d
id f = $f
append f x
fid %a = $f
id f = $f
put only/a/new n
fid %d = $d
id only/a = $d
EOT
}

@test "different files never share an identity; links do" {
    probe identity -u "$M"
    ops <<'EOT'
link u u2
$u id u
id u2 = $u
id f = !$u
EOT
}

# bats test_tags=fuss
@test "files and directories keep their identity in the next session" {
    ops <<'EOT' >/dev/null
append f more
chmod d 700
rename d/x d/xx
EOT
    one=$(sh_in 'stat -c %d:%i f d d/xx d/y')
    two=$(sh_in 'stat -c %d:%i f d d/xx d/y')
    is "$two" "$one"
}

@test "tar, cp and install are content with what stat says" {
    shows 'mkdir out; tar cf - d f | tar xf - -C out; cmp f out/f && cp -p f out/f2 && cp f out/f &&
           install -m 600 f out/f3 && cmp f out/f3 && ls out && cp f f 2>&1 | grep -c same' <<'EOT'
d
f
f2
f3
1
EOT
}

@test "the parent of the root and the root itself are told apart" {
    ops <<'EOT'
$r id .
$p id ..
id .. = !$r
id d/.. = $r
id d/../.. = $p
%d open . r,dir
fid %d = $r
EOT
}

@test "directories never claim two links while they show subdirectories of other layers" {
    mkdir -p "$L1/t/sub1" "$L2/t/sub2" "$U/t"
    ops <<'EOT'
nlink t = !2
EOT
    shows 'find t -type d | sort' <<'EOT'
t
t/sub1
t/sub2
EOT
}
