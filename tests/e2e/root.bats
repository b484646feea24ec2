# A root of its own: the mountpoint is "/", and nothing of the host shows but /proc, /sys and /dev.
# runs: light
# bats file_tags=fuss
load ../lib/fuss

# with_libs PROGRAM...: the host's dynamic programs, their loader and libraries, at the same paths.
with_libs() {
    local file
    for file in "$@" $(ldd "$@" | grep -oE '/[^ :]+' | sort -u); do
        mkdir -p "$L2$(dirname "$file")"
        [ -e "$L2$file" ] || cp -L "$file" "$L2$file"
    done
}

fixture() {
    local name
    mkdir -p "$L2"/{bin,usr/bin,etc,tmp,proc,sys,dev,srv/a/b}
    cp "$(command -v busybox)" "$L2/bin/busybox"
    for name in sh ls cat echo readlink mkdir mv rm env sleep; do
        ln -s busybox "$L2/bin/$name"
    done
    ln -s /srv/a "$L2/short"
    mk "$L1/etc/name" guest
    mk "$L2/etc/name" hidden
    mk "$L1/bin/script" '#!/bin/sh
echo "$0 $*"
'
    chmod 755 "$L1/bin/script"
    MOUNT=/ FUSS_ENV=(PATH=/bin:/usr/bin)
}

@test "absolute paths, links and .. stay inside" {
    is "$(fuss_run /bin/sh -c 'echo /*; cat /etc/name; cd /short/b; pwd -P; cd ../../../../..; pwd -P')" \
        "/bin /dev /etc /proc /short /srv /sys /tmp /usr
guest/srv/a/b
/"
    is "$(fuss_run /bin/sh -c 'cd /; cat short/../../etc/name ../../etc/name /dev/../etc/name')" \
        "guestguestguest"
    expect 1 fuss_run /bin/ls "$T" /home /proc/self/root/home "/proc/self/root$T"
    is "$(grep -c l1 <<<"$output")" 0
}

@test "what is written lands in the upper" {
    fuss_run /bin/sh -c 'mkdir /new && echo x >/new/f && mv /etc/name /new/n && rm /bin/script'
    is "$(cat "$U/new/f" "$U/new/n")" "x
guest"
    expect 1 fuss_run /bin/cat /etc/name
    expect 127 fuss_run /bin/script
}

@test "scripts, and names in /proc, are the root's own" {
    is "$(fuss_run script 1 2)" "/bin/script 1 2"
    is "$(fuss_run /bin/sh -c 'cd /srv/a; for x in cwd exe root; do readlink /proc/self/$x; done;
        exec 5</etc/name; readlink /proc/$$/fd/5; cat /proc/self/fd/5')" "/srv/a
/bin/busybox
/
/etc/name
guest"
}

@test "dynamic programs find loader and libraries in the root" {
    with_libs "$(command -v bash)" "$(command -v od)"
    # one that the host does not have there
    mkdir -p "$L2/opt" && cp "$(command -v bash)" "$L2/opt/shell"
    is "$(fuss_run /opt/shell -c 'echo "$0 $PWD"; readlink /proc/$$/exe; [ ! -e /home ] && cd /srv/a && pwd -P;
        (exec -a again /proc/self/exe -c "echo \$0"); od -An -c /etc/name')" "/opt/shell /
/opt/shell
/srv/a
again
   g   u   e   s   t"
}

@test "a dynamic program runs as itself, with the root's loader" {
    local shell
    shell=$(command -v bash)
    with_libs "$shell"
    ln -sf "$shell" "$L2/bin/sh5"
    # shellcheck disable=SC2016 # the program's own
    is "$(FUSS_SHIM_AFTER=1 fuss_run "$shell" -c 'read -r comm </proc/$$/comm; echo "$comm"
        mapfile -d "" -t words </proc/$$/cmdline; echo "${words[0]} ${words[1]}"; readlink /proc/$$/exe
        while read -r _ perms _ _ _ path; do
            [[ $perms$path == r-xp*ld-linux* ]] && last=${path#"$0"}
        done </proc/$$/maps; echo "$last"' "$L2")" "${shell##*/}
$shell -c
$shell
$(ldd "$shell" | grep -oE '/[^ ]*ld-linux[^ ]*')"
    is "$(FUSS_SHIM_AFTER=1 fuss_run sh5 -c 'LD_SHOW_AUXV=1 sh5 -c :' | sed -n 's/^AT_EXECFN: *//p')" /bin/sh5
    # where memory is laid out the other way round, the place that was thought of may be taken
    is "$(FUSS_SHIM_AFTER=1 fuss_run "$shell" -c "ulimit -s unlimited; for i in 1 2 3; do $shell -c 'echo \$PPID >/dev/null; echo \$0' me; done" | tr '\n' ' ')" \
        "me me me "
}

@test "a loader that the host does not have is run with the program" {
    with_libs "$(command -v bash)"
    mkdir -p "$L2/libXX"
    cp "$L2$(ldd "$(command -v bash)" | grep -oE '/[^ ]*ld-linux[^ ]*')" "$L2/libXX/ld-linux-x86-64.so.2"
    sed 's#/lib64/ld-linux-x86-64#/libXX/ld-linux-x86-64#' "$(command -v bash)" >"$L2/bin/other"
    chmod 755 "$L2/bin/other"
    # shellcheck disable=SC2016
    is "$(fuss_run other -c 'echo "$0"; readlink /proc/$$/exe; (readlink /proc/$BASHPID/exe; :); /bin/echo $#' me x)" \
        "me
/bin/other
/bin/other
1"
}

@test "a program for musl finds its loader in the root" {
    [ -e /lib/ld-musl-x86_64.so.1 ] || skip "no dynamic loader of musl here"
    mkdir -p "$L2/lib"
    cp -L /lib/ld-musl-x86_64.so.1 "$L2/lib/"
    printf '#include <stdio.h>\nint main(int n, char **v) { puts(v[n - 1]); return fopen("/etc/name", "r") ? 0 : 9; }' >"$T/m.c"
    musl-gcc -o "$L2/bin/musl" "$T/m.c"
    is "$(fuss_run musl one two)" two
    is "$(FUSS_SHIM_AFTER=1 fuss_run /bin/sh -c 'musl 1; musl 2; musl 3' | tr '\n' ' ')" "1 2 3 "
}

# bats test_tags=root
@test "a set-id program gives another user its owner's rights" {
    with_libs "$(command -v id)" "$(command -v setpriv)"
    cp "$(command -v id)" "$L2/bin/suid-id"
    chmod 4755 "$L2/bin/suid-id"
    is "$(fuss_run "$(command -v setpriv)" --reuid 65534 --clear-groups /bin/suid-id -u)" 0
    is "$(fuss_run "$(command -v setpriv)" --reuid 65534 --clear-groups "$(command -v id)" -u)" 65534
}

@test "the kernel's directories are the host's" {
    is "$(fuss_run /bin/sh -c 'echo x >/dev/null && [ -c /dev/null ] && [ -d /sys/kernel ] &&
        cat /proc/sys/kernel/ostype')" Linux
}

# bats test_tags=root
@test "chroot to another mountpoint shows the same" {
    ln -s busybox "$L2/bin/chroot"
    with_libs "$(command -v od)"
    mkdir -p "$L2/srv/bin" && cp "$L2/bin/busybox" "$L2/srv/bin/sh"
    mk "$L2/srv/bin/script" '#!/bin/sh
echo "$0 $*"
'
    chmod 755 "$L2/srv/bin/script"
    MOUNT=$M
    is "$(fuss_run "$(PATH=$PATH:/usr/sbin command -v chroot)" "$M" /bin/sh -c 'echo $0 /*; cat /etc/name ../../etc/name /proc/self/root/etc/name; cd /short/b; pwd -P
        readlink /proc/self/exe; cd ../../..; pwd -P; cd /dev/..; pwd -P; script 1; cat /proc/sys/kernel/ostype; od -An -c /etc/name; echo x >/dev/null
        echo new >/etc/new; [ ! -e /home ] && ls "$1" 2>/dev/null; (cd /srv; cat ../etc/new)
        (sleep 0.1; cat /etc/name) & wait
        chroot /srv /bin/script 2; exec chroot /srv /bin/sh -c "cd /; echo /*; cd ..; echo *; echo x >/made; [ ! -e /proc ] && [ ! -e /../etc ] && exec /bin/script 3"' sh "$T")" \
        "sh /bin /dev /etc /lib /lib64 /proc /short /srv /sys /tmp /usr
guestguestguest/srv/a/b
/bin/busybox
/
/
/bin/script 1
Linux
   g   u   e   s   t
new
guest/bin/script 2
/a /bin
a bin
/bin/script 3"
    is "$(cat "$U/srv/made")" x
}

@test "where the command begins, and its environment" {
    FUSS_OPTS=(-w /short/b)
    is "$(fuss_run /bin/readlink /proc/self/cwd)" /srv/a/b
    FUSS_OPTS=(--cwd=/etc --clear-env --env A=1 --env=B=x=y)
    is "$(fuss_run /bin/env)" "A=1
B=x=y"
    FUSS_OPTS=()
    RUN_CWD=$T
    is "$(fuss_run /bin/readlink /proc/self/cwd)" /
    FUSS_OPTS=(-w /none)
    refused 2 '/none' fuss_run /bin/echo
    FUSS_OPTS=(-w '')
    refused 2 '-w' fuss_run /bin/echo
    FUSS_OPTS=(--env=novalue)
    refused 2 novalue fuss_run /bin/echo
}
