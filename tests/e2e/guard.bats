# The layers by their own paths, inside a session: readable, not writable.
# bats file_tags=fuss
load ../lib/fuss

fixture() {
    mk "$L1/f" one && mk "$L2/d/g" two && mk "$U/up" u && ln -s "$L2/d/g" "$T/home/link"
}

@test "a lower by its real path can be read and not be changed" {
    ops <<EOT
cat $L1/f = one
ls $L2/d = g
open $L1/f w = EROFS
open $L1/f r,trunc = EROFS
put $L1/new x = EROFS
unlink $L1/f = EROFS
rename $L1/f $L1/x = EROFS
mkdir $L2/d/x = EROFS
rmdir $L2/d = EROFS
chmod $L1/f 600 = EROFS
truncate $L1/f 0 = EROFS
utimes $L1/f 1 = EROFS
symlink x $L1/s = EROFS
setx $L1/f user.x 1 = EROFS
chmod $L1 700 = EROFS
mkfifo $L1/p = EROFS
access $L1/f w = EROFS
EOT
}

# A descriptor of a lower directory opened by its real path may count as the union's: then the work
# lands in the upper. What counts is checked after the test, as after every one: no lower changes.
@test "a lower through links, descriptors and the cwd cannot be changed either" {
    ops <<EOT
open ../home/link w = EROFS
%d open $L2/d r,dir
openat %d g w = ?
openat %d new w,creat = ?
unlinkat %d g = ?
%f open $L1/f r
fchmod %f 600 = ?
fdchmod %f 600 = ?
fdpath %f w = ?
futimens %f 1 = ?
fsetx %f user.x 1 = ?
chdir $L2/d
put new x = ?
unlink g = ?
open ../../l1/f w = !ok
EOT
    is "$(cat "$L1/f" "$L2/d/g")" onetwo
}

@test "hard links and renames do not carry a lower out or something in" {
    ops <<EOT
link $L1/f $T/home/out = !ok
rename $T/home/link $L1/in = !ok
link $T/home/link $L1/in = !ok
EOT
}

@test "the upper by its real path is read-only too" {
    ops <<EOT
cat $U/up = u
open $U/up w = EROFS
put $U/new x = EROFS
unlink $U/up = EROFS
EOT
    is "$(cat "$U/up")" u
}

@test "diff of lower and union inside a session shows the changes" {
    shows "echo changed >f; rm -r d; diff -r $L1 \$M 2>&1 | grep -c changed; ls $L2" <<'EOT'
1
d
EOT
}

@test "--no-guard lifts it for the upper" {
    FUSS_OPTS=(--no-guard)
    ops <<EOT
put $U/new x = ok
EOT
    [ -e "$U/new" ]
}

@test "a thread that rewrites the path under way does not reach a lower" {
    is "$(probe pathrace "$L1/f" "$T/home/harmless" 5000)" ok
}
