# Hard links and symbolic links.
load ../lib/fuss

fixture() {
    mk "$L2/f" low && mk "$U/u" up && mkdir "$L2/d" && ln -s f "$L2/sl"
    mk "$L2/gone" x && wh "$U" gone
    mk "$L1/h1" h && ln "$L1/h1" "$L1/h2"
}

@test "a link of a lower file: both names are one file in the upper" {
    ops <<'EOT'
link f f2 = ok
nlink f = 2
nlink f2 = 2
$i id f
id f2 = $i
append f2 + = ok
cat f = low+
unlink f = ok
cat f2 = low+
stat f = ENOENT
EOT
    upper_is <<'EOT'
W f
f f2
W gone
f u
EOT
}

@test "other lower links stay apart" {
    ops <<'EOT'
nlink h1 = 2
$i id h1
id h2 = $i
link h1 h3 = ok
append h3 + = ok
cat h1 = h+
cat h2 = h
EOT
}

@test "errors of link" {
    ops <<'EOT'
link f u = EEXIST
link f sl = EEXIST
link f d = EEXIST
link d d2 = EPERM
link nope x = ENOENT
link gone x = ENOENT
link f nope/x = ENOENT
link f/ x = ENOTDIR
link f x/ = ENOENT
link f gone = ok
cat gone = low
EOT
}

@test "a link to a symlink, and through it" {
    ops <<'EOT'
link sl sl2 = ok
type sl2 = lnk
readlink sl2 = f
linkat cwd sl cwd f3 follow = ok
type f3 = reg
cat f3 = low
EOT
}

@test "a link to a name outside" {
    ops <<'EOT'
link f ../x = EXDEV
link f ../nope/x = ENOENT
%f open f r
linkat %f "" cwd ../nope/x empty = ENOENT
EOT
}

@test "links by descriptor" {
    ops <<'EOT'
%d open d r,dir
linkat cwd f %d x none = ok
cat d/x = low
linkat %d x cwd y none = ok
nlink y = 3
symlinkat ../u %d s = ok
cat d/s = up
EOT
}

@test "a removed upper link keeps the count right" {
    ops <<'EOT'
link u u2 = ok
link u u3 = ok
nlink u = 3
unlink u2 = ok
nlink u = 2
rename u3 u = ok
stat u3 = ok
EOT
}

@test "a link after the lower name was read is served from the upper at once" {
    ops <<'EOT'
cat f = low
%r open f r
link f g = ok
append g x = ok
cat f = lowx
read %r = lowx
EOT
}

@test "a source with a slash behind it that is no directory is told first; of a removed directory none" {
    mk "$L2/taken" x && mk "$T/home/outside" y && mkdir "$L2/rm"
    ops <<EOT
link taken/ u = ENOTDIR
link $T/home/outside/ u = ENOTDIR
%d open rm r,path
rmdir rm = ok
linkat %d "" cwd x empty = EPERM
EOT
}

# bats test_tags=root
@test "a removed directory by its descriptor: the new name's directory is judged first" {
    mkdir -m 777 "$L2/open" && mkdir -m 755 "$L2/shut" && chmod 755 "$U"
    ops <<'EOT'
seteuid 12345
mkdir open/mine = ok
%d open open/mine r,dir
rmdir open/mine = ok
linkat %d "" cwd shut/x empty = EACCES
linkat %d "" cwd open/x empty = EPERM
EOT
}
