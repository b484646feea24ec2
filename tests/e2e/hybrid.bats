# The in-process shim: what it answers is right whatever happens to the program meanwhile.
# runs: shim
# bats file_tags=fuss
load ../lib/fuss

fixture() {
    mk "$L2/f" 12345 && mk "$L2/d/f" 12345 && ln -s f "$L2/link"
    mk "$L2/near/five" 12345 && mk "$L2/near/empty" && mk "$L2/near/deeper/three" 123
    mk "$L2/near/only/two" 12 && ln -s five "$L2/near/to_five" && wh "$L2" near/gone
    for i in $(seq 0 39); do mk "$L2/low$i" lower; done
    # It takes notices, which are there from Linux 6.6 on.
    if [ "$E2E_BACKEND" = hybrid ] && [ "$(uname -m)" = x86_64 ] &&
        printf '6.6\n%s\n' "$(uname -r)" | sort -CV; then
        FUSS_ENV+=(WANT_SHIM=1)
    fi
}

@test "signals, handlers that look names up, and siglongjmp out of them" {
    is "$(probe shim_inside signals "$M")" ok
}

@test "bad pointers are EFAULT, with a handler of the program's own and without" {
    is "$(probe shim_inside bad "$M")" ok
}

@test "threads with small stacks, forks and vforks among them" {
    is "$(probe shim_inside threads "$M")" ok
}

@test "a seccomp filter of the program's own judges only its own calls" {
    is "$(probe shim_inside filter "$M")" ok
}

@test "another process changes the union meanwhile" {
    is "$(probe shim_inside changes "$M")" ok
}

# bats test_tags=root
@test "other ids are judged as such" {
    is "$(probe shim_inside ids "$M")" ok
}

@test "names just below open directories" {
    is "$(probe shim_inside near "$M")" ok
}

@test "one lower alone: the same" {
    LOWER=$L2
    for mode in near signals threads changes; do is "$(probe shim_inside "$mode" "$M")" ok; done
}

# bats test_tags=user
@test "what a lower has below a directory that was closed in the union is not reached" {
    LOWER=$L2
    mk "$L2/shut/in/f" x
    ops <<EOT
stat shut/in/f = ok
chdir shut/in = ok
chmod $M/shut 600 = ok
stat f = ok
stat missing = ENOENT
stat $M/shut/in/f = EACCES
stat $M/shut/in/missing = EACCES
open $M/shut/in/f r = EACCES
chmod $M/shut 700 = ok
stat $M/shut/in/f = ok
EOT
}

@test "files made by the program itself, and signals, and death in the middle" {
    is "$(probe shim_writes signals "$M" "$T/home" "$L2/d")" ok
    rm -rf "${U:?}"/*
    is "$(probe shim_writes killed "$M" "$T/home" "$L2/d")" ok
}

@test "a directory that becomes a symlink to a lower's own is not written through" {
    is "$(probe shim_writes swap "$M" "$T/home" "$L2/d")" ok
}

@test "names made, moved and taken away: signals, stops, and another that does so too" {
    mkdir "$L2/pool" && (cd "$L2/pool" && seq -f p%g 0 399 | xargs touch)
    for mode in signals stopped rivals; do
        is "$(probe shim_names "$mode" "$M" "$L2/d")" ok
        find "$U" -mindepth 1 -delete
    done
}

@test "names in a directory that becomes a symlink to a lower's own are not the lower's" {
    is "$(probe shim_names swap "$M" "$L2/d")" ok
}

@test "what a program makes by itself is there for all, also where it was known to be missing" {
    is "$(probe shim_writes seen "$M" "$T/home" "$L2/d")" ok
}

@test "of several that make one name, one wins" {
    is "$(probe shim_writes rivals "$M" "$T/home" "$L2/d")" ok
}

@test "an attribute is set once, whatever signals come" {
    is "$(probe shim_writes attributes "$M" "$T/home" "$L2/d")" ok
}

@test "files outside are made and written as ever" {
    is "$(probe shim_writes beyond "$M" "$T/home" "$L2/d")" ok
}

@test "a directory outside that becomes a symlink into the union is seen at once" {
    is "$(probe shim_writes moved "$M" "$T/home" "$L2/d")" ok
}

@test "waiting for the other end of a fifo ends by a signal, or goes on after it" {
    is "$(probe shim_writes fifo "$M" "$T/home" "$L2/d")" ok
}

@test "what was seen a moment ago: other numbers, other directories, other objects" {
    mk "$L2/seen/a/same" 1 && mk "$L2/seen/a/other" 1 && mk "$L2/seen/b/same" 12 && mk "$L2/seen/b/other" 12
    mk "$L2/same" 123 && mk "$L2/seen/a/twin" 1234 && ln "$L2/seen/a/twin" "$L2/seen/a/twins"
    ln "$L2/seen/a/twin" "$L2/seen/b/third"
    is "$(probe shim_seen numbers "$M")" ok
    is "$(probe shim_seen cwd "$M")" ok
    is "$(probe shim_seen changes "$M")" ok
}

@test "names outside of the union are what they are now" {
    mk "$L2/d/f" abc
    mkdir "$T/outside"
    is "$(probe shim_outside "$M" "$T/outside")" ok
}
