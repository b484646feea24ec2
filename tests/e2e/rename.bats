# rename(2) between everything: whiteouts, opaque marks, flags, types, errors.
load ../lib/fuss

fixture() {
    mk "$L2/lf" low && mk "$L1/lf2" low2 && mk "$U/uf" up && mk "$U/bf" both && mk "$L2/bf" b
    mk "$L2/wh" hidden && wh "$U" wh
    mk "$U/ud/x" x && mkdir "$U/ue" && mk "$L2/ld/1" 1 && mk "$L1/ld/2" 2 && mkdir "$L2/le"
    mk "$L2/onlywh/z" z && wh "$U" onlywh/z
    ln -s lf "$L2/sl"
}

@test "files of every layer rename, with a whiteout where a lower has the old name" {
    ops <<'EOT'
rename lf a = ok
rename uf b = ok
rename bf c = ok
stat lf = ENOENT
stat uf = ENOENT
stat bf = ENOENT
cat a = low
cat b = up
cat c = both
rename a wh = ok
cat wh = low
rename sl sl2 = ok
readlink sl2 = lf
EOT
    upper_is <<'EOT'
f b
W bf
f c
W lf
d onlywh
W onlywh/z
W sl
l sl2
d ud
f ud/x
d ue
f wh
EOT
}

@test "a file replaces a file in any layer" {
    ops <<'EOT'
rename lf lf2 = ok
cat lf2 = low
stat lf = ENOENT
rename uf lf2 = ok
cat lf2 = up
rename lf2 bf = ok
cat bf = up
stat lf2 = ENOENT
EOT
}

@test "types must fit" {
    ops <<'EOT'
rename lf le = EISDIR
rename lf ue = EISDIR
rename lf ld = EISDIR
rename uf ud = EISDIR
rename ud lf = ENOTDIR
rename ud uf = ENOTDIR
rename ld lf = ENOTDIR
rename ld uf = ENOTDIR
EOT
}

@test "a directory of the upper takes any free or empty name and hides what lies below" {
    ops <<'EOT'
rename ud le = ok
ls le = x
rename le wh = ok
ls wh = x
rename ue onlywh = ok
ls onlywh = ""
stat onlywh/z = ENOENT
stat ud = ENOENT
mkdir n = ok
rename n ld = ENOTEMPTY
EOT
    is_opaque onlywh
    ops <<'EOT'
ls onlywh = ""
ls wh = x
EOT
}

@test "errors of rename" {
    ops <<'EOT'
rename nope x = ENOENT
rename wh x = ENOENT
rename lf nope/x = ENOENT
rename lf lf/x = ENOTDIR
rename ud ud/sub = EINVAL
rename ud/x ud = ENOTEMPTY
rename ud . = EBUSY
rename . x = EBUSY
rename ud/.. x = EBUSY
rename lf x/ = ENOTDIR
rename ud new/ = ok
ls new = x
rename "" x = ENOENT
rename lf "" = ENOENT
rename ud ue = ENOENT
EOT
}

@test "renaming onto an ancestor fails" {
    ops <<'EOT'
mkdir ud/s = ok
rename ud/s ud = ENOTEMPTY
EOT
}

@test "rename of a name to itself is nothing" {
    ops <<'EOT'
rename lf lf = ok
rename ld ld = ok
EOT
    [ ! -e "$U/lf" ]
}

@test "two links of one upper file: nothing happens, both stay" {
    ops <<'EOT'
link uf uf2 = ok
rename uf uf2 = ok
cat uf = up
cat uf2 = up
EOT
}

@test "flags: NOREPLACE" {
    ops <<'EOT'
rename2 lf uf noreplace = EEXIST
rename2 lf lf2 noreplace = EEXIST
rename2 lf ld noreplace = EEXIST
rename2 lf wh noreplace = ok
cat wh = low
rename2 uf brand noreplace = ok
cat brand = up
EOT
}

@test "flags: EXCHANGE" {
    ops <<'EOT'
rename2 lf uf exchange = ok
cat lf = up
cat uf = low
rename2 lf nope exchange = ENOENT
rename2 lf wh exchange = ENOENT
rename2 lf ud exchange = ok
cat ud = up
ls lf = x
rename2 lf2 bf exchange = ok
cat lf2 = both
cat bf = low2
EOT
}

@test "flags: unknown and forbidden ones" {
    ops <<'EOT'
rename2 lf uf both = EINVAL
rename2 lf uf unknown = EINVAL
rename2 lf uf whiteout = EINVAL
cat uf = up
cat lf = low
EOT
}

@test "across the border is EXDEV, both ways" {
    mk "$T/home/out" o
    ops <<'EOT'
rename lf ../home/in = EXDEV
rename ../home/out in = EXDEV
rename nope ../home/in = EXDEV
link lf ../home/in = EXDEV
link ../home/out in = EXDEV
EOT
}

# bats test_tags=fuss
@test "a directory with a lower part is renamed with all it shows" {
    mk "$U/ld/3" 3
    mk "$L2/ld/sub/deep" deep
    wh "$U" ld/2
    ops <<'EOT'
rename ld moved = ok
stat ld = ENOENT
ls moved = "1 3 sub"
cat moved/1 = 1
cat moved/3 = 3
cat moved/sub/deep = deep
mkdir ld = ok
ls ld = ""
rename le moved/le = ok
stat le = ENOENT
ls moved/le = ""
EOT
    is_opaque ld
    ops <<'EOT'
ls moved = "1 3 le sub"
ls ld = ""
cat moved/sub/deep = deep
EOT
}

# bats test_tags=fuss
@test "a directory with a lower part replaces an empty directory, not a full one" {
    ops <<'EOT'
rename ld le = ok
ls le = "1 2"
stat ld = ENOENT
EOT
}

# bats test_tags=fuss
@test "a renamed lower directory keeps attributes, times, owners and its identity" {
    chmod 0710 "$L1/ld" && setfattr -n user.k -v v "$L1/ld"
    old "$L2/ld/1" "$L1/ld"
    ops <<'EOT'
$i id ld
$j id ld/1
rename ld moved = ok
id moved = $i
id moved/1 = $j
mode moved = 0710
getx moved user.k = v
mtime moved/1 = 981173106.123456789
EOT
}

# bats test_tags=fuss
@test "descriptors and the cwd follow a renamed lower directory" {
    ops <<EOT
%d open ld r,dir
chdir ld
rename ../ld ../moved = ok
getcwd = $M/moved
catat %d 1 = 1
fdlink %d = $M/moved
%n openat %d new w,creat = ok
ls . = "1 2 new"
ls ../moved = "1 2 new"
stat ../ld = ENOENT
cat 2 = 2
EOT
}

@test "descriptors and the cwd follow a renamed upper directory" {
    ops <<EOT
%d open ud r,dir
chdir ud
rename ../ud ../moved = ok
getcwd = $M/moved
fdlink %d = $M/moved
catat %d x = x
put y y = ok
ls . = "x y"
ls ../moved = "x y"
EOT
}

@test "renameat with directory descriptors" {
    ops <<'EOT'
%a open ld r,dir
%b open ud r,dir
renameat %a 1 %b one = ok
cat ud/one = 1
ls ld = 2
renameat %b x cwd x = ok
ls ud = one
EOT
}

@test "mv of files and of a tree across layers" {
    shows 'mv lf uf; cat uf; mkdir n; mv ld n/; ls n/ld; ls -d ld 2>/dev/null || echo none; cat n/ld/1' <<'EOT'
low1
2
none
1
EOT
}
