# `fuss image export`: an upper as a layer of an image.
# runs: light
# bats file_tags=fuss
load ../lib/fuss

fixture() {
    mkdir "$T/in"
    python3 "$E2E_ROOT/tests/lib/images.py" good "$T/in/base"
    LOWER=$L1
}

# The user's own, as --owner says it.
me() {
    if [ "$E2E_USER" = user ] && [ "$(id -u)" = 0 ]; then
        echo "$(id -u "$E2E_USER_NAME"):$(id -g "$E2E_USER_NAME")"
    else
        echo "$(id -u):$(id -g)"
    fi
}

hand_over() {
    [ "$(id -u)" != 0 ] || [ "$E2E_USER" = root ] || chown -hR "$E2E_USER_NAME:" "$@"
}

export_to() {
    fuss_bare image export "--upperdir=$U" "$@"
}

# lists WANT...: the tar of the upper, without the line of the root.
lists() {
    hand_over "$T"
    export_to "${@}" "--tar=$T/home/out.tar"
    if [ "$E2E_USER" = root ]; then
        expect 0 "$E2E_BIN/tests/image-asan" image export "--upperdir=$U" "$@" "--tar=$T/sanitized.tar"
        cmp "$T/home/out.tar" "$T/sanitized.tar"
    fi
    is "$(python3 "$E2E_ROOT/tests/lib/tarlist.py" "$T/home/out.tar" | sed 1d)" "$(cat)"
}

# changes of every kind, in the union of the base image
changes() {
    sh_in 'set -e; rm etc/f; echo more >>etc/h; rm -r dir; mkdir dir; echo in >dir/in; rm l
        mkdir -p new/a; echo c >new/a/c; ln new/a/c new/hard; ln -s /etc/h new/sym; mkfifo new/fifo
        chmod 750 new; chmod 600 new/a/c
        long=new/$(printf %0150d 1); mkdir "$long"; echo x >"$long/$(printf "n\351 %0120d" 2)"
        ln -s "$(printf %0200d 3)" new/far; mv null device; : >etc/zero; chmod 711 .; mkdir etc/sub; rmdir etc/sub'
    fuss_run setfattr -n user.hello -v world "$M/new/a/c"
    fuss_run setfacl -m u:55:rwx,d:u:56:r "$M/new"
    fuss_run touch -d '1965-01-02 03:04:05.25 UTC' "$M/new/a/c"
}

# The union's tree, whatever it is made of.
tree() {
    fuss_run "$TREEHASH" -c "$M" | sed "1s,^[^ ]*,.,; s/ user.containers.override_stat=[0-9a-f]*//"
}

unpacked() {
    fuss_bare image unpack "--whiteout=$E2E_STYLE" "oci:$1" "$2"
}

@test "an upper becomes a layer over its image, and unpacks to the same tree" {
    local want before
    hand_over "$T"
    LOWER=$(unpacked "$T/in/base" "$T/home/base")
    changes
    want=$(tree)
    before=$(TZ=UTC stat -c '%y %n' "$U"; ls -A "$U")
    export_to "--owner=$(me)" "--lowerdir=$LOWER" "--oci=$T/home/out:new" "--base=oci:$T/in/base:t"
    export_to "--owner=$(me)" "--lowerdir=$LOWER" "--oci=$T/home/again:new" "--base=oci:$T/in/base:t"
    is "$(TZ=UTC stat -c '%y %n' "$U"; ls -A "$U")" "$before"
    diff -r "$T/home/out" "$T/home/again"
    if [ "$E2E_USER" = root ]; then
        expect 0 "$E2E_BIN/tests/image-asan" image export "--upperdir=$U" "--owner=$(me)" "--lowerdir=$LOWER" "--oci=$T/sanitized:new" "--base=oci:$T/in/base:t"
        diff -r "$T/home/out" "$T/sanitized"
    fi
    check_lowers
    LOWER=$(unpacked "$T/home/out:new" "$T/home/new") UPPER=
    is "$(lower_list | wc -l)" 3
    is "$(tree)" "$want"
    python3 - "$T/home/new/config.json" <<'END'
import json, sys
c = json.load(open(sys.argv[1]))
assert c["config"] == {"Env": ["A=b"]}, c
assert len(c["rootfs"]["diff_ids"]) == 3 and len(c["history"]) == 3, c
assert c["created"] == c["history"][2]["created"], c
END
}

@test "into the layout of the base; a tag is replaced, the others stay" {
    hand_over "$T"
    mk "$U/one" 1
    hand_over "$U"
    export_to "--oci=$T/in/base:new" "--base=oci:$T/in/base:t"
    mk "$U/two" 2
    hand_over "$U"
    export_to "--oci=$T/in/base:new" "--base=oci:$T/in/base:t"
    is "$(grep -o '"org.opencontainers.image.ref.name":"[^"]*"' "$T/in/base/index.json" | sed 's/.*://')" \
        $'"t"\n"new"'
    LOWER=$(unpacked "$T/in/base:new" "$T/home/new") UPPER=
    shows 'cat one two etc/f; test ! -e gone' <<<'12one'
}

@test "markers of both styles, first in their directory and in order" {
    mkdir -p "$U"/{a,b/deep,c,x}
    : >"$U/.wh.z"
    : >"$U/.wh.b" # hides the lowers' b: the upper's is opaque then
    mk "$U/f" data
    : >"$U/.wh.f" # says nothing more
    : >"$U/a/.wh..wh..opq"
    : >"$U/a/.wh..wh.plnk"
    setfattr -n user.overlay.opaque -v y "$U/c"
    setfattr -n user.overlay.opaque -v x "$U/x"
    : >"$U/x/gone"
    setfattr -n user.overlay.whiteout -v y "$U/x/gone"
    mk "$U/.wh..fuss.work/t1" left
    if [ "$E2E_USER" = root ]; then
        mknod "$U/A" c 0 0
        mkdir "$U/d"
        setfattr -n trusted.overlay.opaque -v y "$U/d"
        setfattr -n trusted.overlay.origin -v something "$U/d"
    else
        : >"$U/.wh.A"
        : >"$U/.wh.d"
        mkdir "$U/d"
    fi
    find "$U" -exec touch -hd @981173106 {} +
    lists <<'END'
f .wh.A 644 0:0 981173106 []
f .wh.z 644 0:0 981173106 []
d a 755 0:0 981173106
f a/.wh..wh..opq 644 0:0 981173106 []
d b 755 0:0 981173106
f b/.wh..wh..opq 644 0:0 981173106 []
d b/deep 755 0:0 981173106
d c 755 0:0 981173106
f c/.wh..wh..opq 644 0:0 981173106 []
d d 755 0:0 981173106
f d/.wh..wh..opq 644 0:0 981173106 []
f f 644 0:0 981173106 [data]
d x 755 0:0 981173106
f x/.wh.gone 644 0:0 981173106 []
END
    [ -e "$U/.wh..fuss.work/t1" ]
}

@test "with the lowers known, markers that hide nothing are left out" {
    mkdir -p "$U"/{new,old} "$L1/old"
    : >"$U/.wh.z"
    : >"$U/.wh.y"
    : >"$U/new/.wh..wh..opq"
    : >"$U/old/.wh..wh..opq"
    mk "$L2/y" y
    find "$U" -exec touch -hd @981173106 {} +
    lists "--lowerdir=$L1:$L2" <<'END'
f .wh.y 644 0:0 981173106 []
d new 755 0:0 981173106
d old 755 0:0 981173106
f old/.wh..wh..opq 644 0:0 981173106 []
END
}

@test "override_stat becomes owners, modes and devices; other attributes are kept" {
    mk "$U/f" data
    mk "$U/n"
    mk "$U/p"
    mk "$U/t" ../target
    mkdir "$U/d"
    setfattr -n user.containers.override_stat -v 12:34567890:04711 "$U/f"
    setfattr -n user.containers.override_stat -v 0:5:0620:char-1-3 "$U/n"
    setfattr -n user.containers.override_stat -v 1:2:0600:pipe "$U/p"
    setfattr -n user.containers.override_stat -v 1:2:0777:symlink "$U/t"
    setfattr -n user.containers.override_stat -v 3:4:01777:dir "$U/d"
    setfattr -n user.b -v two "$U/f"
    setfattr -n user.a -v one "$U/f"
    setfattr -n user.overlay.fuss.origin -v secret "$U/f"
    ln "$U/f" "$U/g"
    old "$U"/*
    lists <<'END'
d d 1777 3:4 981173106.123456789
f f 4711 12:34567890 981173106.123456789 [data] user.a=one user.b=two
h g 4711 12:34567890 981173106.123456789 -> f
c n 620 0:5 981173106.123456789 1,3
p p 600 1:2 981173106.123456789
l t 777 1:2 981173106.123456789 -> ../target
END
    setfattr -n user.containers.override_stat -v 1:2:what "$U/f"
    refused 125 'override_stat cannot be read' export_to "--tar=$T/home/no.tar"
    [ ! -e "$T/home/no.tar" ]
}

@test "what its owner may not read, and sockets" {
    mkdir "$U/d"
    mk "$U/d/f" data
    chmod 0 "$U/d/f"
    python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$U/s"
    old "$U/d/f" "$U/d" "$U"
    chmod 300 "$U/d"
    hand_over "$T"
    expect 0 export_to "--tar=$T/home/out.tar"
    is "$output" "fuss: 1 socket is left out: a layer cannot have them"
    is "$(python3 "$E2E_ROOT/tests/lib/tarlist.py" "$T/home/out.tar" | sed 1d)" \
        "d d 300 0:0 981173106.123456789
f d/f 0 0:0 981173106.123456789 [data]"
    is "$(stat -c %a "$U/d") $(stat -c %a "$U/d/f")" "300 0"
    chmod 700 "$U/d"
}

@test "a session's upper, marks that no layer can say and false names are refused" {
    seal_lowers
    fuss_run sh -c 'echo ready; exec sleep 20' >"$T/home/ready" &
    while [ ! -s "$T/home/ready" ]; do sleep 0.02; done
    refused 125 'in use by a session, pid [0-9]+' export_to "--tar=$T/home/no.tar"
    kill %1
    wait %1 || true
    kill_leftovers
    mkdir "$U/r"
    setfattr -n user.overlay.redirect -v /x "$U/r"
    hand_over "$U"
    refused 125 'redirect or metacopy' export_to "--tar=$T/home/no.tar"
    rmdir "$U/r"
    mk "$U/.wh.x" data
    hand_over "$U"
    refused 125 'only whiteouts' export_to "--oci=$T/home/no"
    is "$(ls "$T/home")" ready
    rm "$U/.wh.x"
    mk "$U/large" "$(head -c 300000 /dev/zero | tr '\0' x)"
    hand_over "$U"
    export_to --tar=- 2>"$T/home/err" | head -c 512 >/dev/null || true
    has "$(cat "$T/home/err")" '^fuss: the tar cannot be written: Broken pipe$'
    is "$(ls -A "$U")" large
}

@test "a base that is not what it says: nothing is made" {
    local blob before
    hand_over "$T"
    before=$(cd "$T/in/base" && find . -type f -exec sha256sum {} + | sort)
    blob=$(find "$T/in/base/blobs" -type f -exec grep -lq $'^\x1f\x8b' {} \; -print | head -1)
    cp "$blob" "$T/kept"
    printf x >>"$blob"
    refused 125 'does not match its digest' export_to "--oci=$T/home/out" "--base=oci:$T/in/base:t"
    is "$(ls -A "$T/home")" ''
    refused 125 'does not match its digest' export_to "--oci=$T/in/base:x" "--base=oci:$T/in/base:t"
    cp "$T/kept" "$blob"
    is "$(cd "$T/in/base" && find . -type f -exec sha256sum {} + | sort)" "$before"
    refused 125 'no OCI layout' export_to "--oci=$T/home"
    refused 125 'has no tag' export_to "--oci=$T/home/x" "--base=oci:$T/in/base:nix"
}

@test "wrong usage of export" {
    refused 2 usage fuss_bare image export
    refused 2 usage export_to
    refused 2 usage export_to "--tar=$T/x" "--oci=$T/y"
    refused 2 usage export_to "--tar=$T/x" "--base=oci:$T/in/base"
    refused 2 'no oci:' export_to "--oci=$T/x" "--base=dir:$T/in/base"
    refused 2 'no UID:GID' export_to "--tar=$T/x" --owner=root
    refused 125 'No such file' fuss_bare image export "--upperdir=$T/none" "--tar=$T/x"
}
