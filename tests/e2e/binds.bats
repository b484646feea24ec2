# Files and directories of the host shown inside the union, and paths hidden in it.
# runs: light
# bats file_tags=fuss
load ../lib/fuss

fixture() {
    local name
    mkdir -p "$L2"/{bin,etc,tmp,proc,sys,dev,srv/sub,data/under}
    cp "$(command -v busybox)" "$L2/bin/busybox"
    for name in sh ls cat readlink mkdir mv rm rmdir ln touch chmod stat pwd sync find; do
        ln -s busybox "$L2/bin/$name"
    done
    mk "$L2/etc/name" guest
    mk "$L2/srv/secret" secret
    mk "$L1/srv/sub/file" low
    mk "$T/host/file" host
    mk "$T/host/sub/deep/file" deep
    mk "$T/ro/file" fixed
    mk "$T/one" single
    ln -s /etc/name "$T/host/abs"
    ln -s ../etc/name "$T/host/up"
    mkdir -p "$T/shown"
    chmod -R a+rwX "$T/host" "$T/ro" "$T/one"
    MOUNT=/ FUSS_ENV=(PATH=/bin)
}

# in_sh TEXT: the text run by the union's shell with the binds in FUSS_OPTS.
in_sh() {
    fuss_run /bin/sh -c "$1"
}

@test "a directory, a file, and where no layer has the path" {
    FUSS_OPTS=(-b "$T/host:/data" --bind="$T/one:/new/dir/one" -b "$T/one:/etc/name")
    is "$(in_sh 'cat /data/file /data/sub/deep/file /new/dir/one /etc/name; ls / /new/dir /data; cat /data/abs /data/up')" \
        "hostdeepsinglesingle/:
bin
data
dev
etc
new
proc
srv
sys
tmp

/data:
abs
file
sub
up

/new/dir:
one
singlesingle"
    in_sh 'echo more >>/data/file; mkdir /data/sub/made; mv /data/sub/deep /data/moved; rm /data/abs; cd /data; echo x >y'
    is "$(cat "$T/host/file" "$T/host/y" "$T/host/moved/file"; ls "$T/host")" "hostmore
x
deepfile
moved
sub
up
y"
    [ -d "$T/host/sub/made" ]
    [ ! -e "$U/data" ] && [ -d "$U/new/dir" ] && [ ! -e "$U/new/dir/one" ]
}

@test "names inside a bind are the guest's" {
    FUSS_OPTS=(-b "$T/host:/srv/sub/in")
    is "$(in_sh 'cd /srv/sub/in/sub/deep; pwd -P; readlink /proc/self/cwd; cd ../..; pwd -P; cat ../file; cd ..; pwd -P
        exec 5<in/file; readlink /proc/self/fd/5; cat /proc/self/fd/5; ls /proc/self/cwd/in/sub/..')" "/srv/sub/in/sub/deep
/srv/sub/in/sub/deep
/srv/sub/in
low/srv/sub
/srv/sub/in/file
hostabs
file
sub
up"
}

@test "the name of a bind is busy, and another filesystem" {
    FUSS_OPTS=(-b "$T/host:/data" -b "$T/one:/srv/one" -b "$T/ro:/other")
    refusals=$(in_sh 'exec 2>&1; rmdir /data; rm /srv/one; mv /data /x; mv /srv /x; mv /etc/name /srv/one; mkdir /data; ln /data/file /srv/f; ln /data/file /other/f
        rm /data/under; mv -T /etc /srv' || true)
    grep -q "rmdir: '/data': Device or resource busy" <<<"$refusals"
    grep -q "rm: can't remove '/srv/one': Device or resource busy" <<<"$refusals"
    grep -q "mv: can't rename '/data': Device or resource busy" <<<"$refusals"
    grep -q "mv: can't rename '/srv': Device or resource busy" <<<"$refusals"
    grep -q "mv: can't rename '/etc/name': Device or resource busy" <<<"$refusals"
    grep -q "mkdir: can't create directory '/data': File exists" <<<"$refusals"
    is "$(grep -c 'Invalid cross-device link' <<<"$refusals")" 2
    grep -q "rm: can't remove '/data/under': No such file or directory" <<<"$refusals"
    [ "$(cat "$T/one")" = single ] && [ -e "$T/host/file" ]
}

@test "read-only: nothing is written, by whatever way" {
    FUSS_OPTS=(--ro-bind "$T/ro:/ro" --ro-bind="$T/one:/srv/one" -b "$T/host:/ro/sub")
    mkdir "$T/ro/sub"
    is "$(in_sh 'exec 2>/dev/null 5</ro/file; echo x >/ro/new || echo 1; echo x >>/ro/file || echo 2; echo x >/proc/self/fd/5 || echo 3
        rm /ro/file || echo 4; mv /ro/file /ro/g || echo 5; chmod 700 /ro/file || echo 6; touch /ro/file || echo 7; cd /ro; echo x >file || echo 8
        mkdir d || echo 9; echo x >/srv/one || echo 10; ln -s a b || echo 11; chmod 700 /proc/self/fd/5 || echo 12
        echo y >/ro/sub/y; cat /ro/file /srv/one sub/y; mkdir -p /ro/sub')" "1
2
3
4
5
6
7
8
9
10
11
12
fixedsingley"
    is "$(cat "$T/ro/file" "$T/one"; ls "$T/ro")" "fixedsinglefile
sub"
}

@test "what is hidden is not there, and cannot be made" {
    FUSS_OPTS=(--hide /srv/secret --hide=/data/under -b "$T/host:/bound" --hide /bound/sub)
    is "$(in_sh 'exec 2>/dev/null; ls /srv /data /bound; cat /srv/secret || echo 1; cd /srv; cat secret || echo 2; echo x >secret || echo 3
        ls /data/under || echo 4; mkdir /data/under || echo 5; cat /bound/sub/deep/file || echo 6; find / -xdev -name secret; cd /bound; ls sub || echo 7; mv /srv /x || echo 8; cat /srv/sub/file')" \
        "/bound:
abs
file
up

/data:

/srv:
sub
1
2
3
4
5
6
7
8
low"
}

@test "the root's defaults" {
    is "$(in_sh 'ls -d /proc/self /etc/hosts; cat /etc/hosts; echo x 2>/dev/null >>/etc/hosts || echo no')" \
        "/etc/hosts
/proc/self
$(cat /etc/hosts)
no"
    FUSS_OPTS=(--no-default-binds)
    is "$(in_sh 'ls /etc /proc /dev; echo x >/etc/hosts; cat /etc/hosts')" "/dev:

/etc:
name

/proc:
x"
    FUSS_OPTS=(-b "$T/one:/etc/hosts")
    is "$(in_sh 'cat /etc/hosts')" single
}

@test "at another mountpoint, beside the host's own" {
    MOUNT=$M FUSS_OPTS=(-b "$T/host:$M/data" --ro-bind "$T/ro:$M/a/b/c" --hide "$M/srv/secret")
    FUSS_ENV=()
    is "$(fuss_run sh -c "cat $M/data/file $M/a/b/c/file; ls $M/a/b $M/srv; cd $M/data/sub; pwd -P; echo z >z; cat ../../etc/name; [ ! -e $M/srv/secret ]
        [ ! -w $M/a/b/c/file ] && ! echo 2>/dev/null x >$M/a/b/c/x")" "hostfixed$M/a/b:
c

$M/srv:
sub
$M/data/sub
guest"
    is "$(cat "$T/host/sub/z")" z
}

@test "programs and scripts in a bind" {
    mkdir "$T/host/bin" && cp "$(command -v busybox)" "$T/host/bin/busybox"
    mk "$T/host/bin/script" '#!/bin/sh
echo "$0 $1"
'
    chmod 755 "$T/host/bin/script"
    FUSS_OPTS=(-b "$T/host:/opt/x") FUSS_ENV=(PATH=/bin:/opt/x/bin)
    is "$(in_sh 'script 1; /opt/x/bin/busybox readlink /proc/self/exe; cd /opt/x/bin; ./script 2')" "/opt/x/bin/script 1
/opt/x/bin/busybox
./script 2"
}

@test "wrong usage is told in one line" {
    local opt
    for opt in --bind= --bind=a:b:c "--bind=$T/none:/x" --bind=/etc:/ "--bind=$L2/etc:/x" \
        "--bind=$U:/x" --bind=/etc: --bind=/etc:x --hide=x --hide=/; do
        FUSS_OPTS=("$opt")
        refused 2 "${opt%%=*}" fuss_run /bin/ls
    done
    FUSS_OPTS=(-b "$T/one:/x" -b "$T/ro:/x")
    refused 2 'named twice' fuss_run /bin/ls
    FUSS_OPTS=(-b "$T/one:/x" --ro-bind "$T/one:/y")
    refused 2 'read-only' fuss_run /bin/ls
    UPPER='' FUSS_OPTS=(-b "$T/one:/no/dir")
    refused 2 'read-only' fuss_run /bin/ls
    MOUNT=$M FUSS_OPTS=(-b "$T/one")
    refused 2 'below the mountpoint' fuss_run /bin/ls
}
