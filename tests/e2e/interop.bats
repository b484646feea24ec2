# Layers and uppers between fuss and the real tools, where they are installed; what is checked without
# them is in image.bats and export.bats.
# runs: light
# bats file_tags=fuss
load ../lib/fuss

fixture() {
    mkdir "$T/in"
    python3 "$E2E_ROOT/tests/lib/images.py" good "$T/in/base"
}

# needs TOOL...: root's tools
needs() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "$tool is not installed"
    done
}

unpacked() {
    fuss_bare image unpack "--whiteout=$E2E_STYLE" "$1" "$2"
}

# A tree as treehash says it, whatever the name of its root.
without_root() {
    sed '1s,^[^ ]*,.,'
}

# changes of every kind, in the union of the base image
changes() {
    fuss_run bash -c 'set -e; cd "$0"; rm null etc/f; echo more >>etc/h; rm -r dir; mkdir dir; echo in >dir/in
        rm l; mkdir -p new/a; echo c >new/a/c; ln new/a/c new/hard; ln -s /etc/h new/sym; mkfifo new/fifo
        chmod 2750 new; chmod 4755 new/a/c; chown 12:345678901 new/hard; mv etc/h etc/i; mkdir etc/h
        setfattr -n user.hello -v world new/hard; setfacl -m u:55:rwx,d:u:56:r new' "$M"
    fuss_run "$TREEHASH" -c "$M" | without_root >"$T/want"
}

# mounted COMMAND...: the tree of what it mounts on $T/k, in a mount namespace of its own
mounted() {
    mkdir -p "$T/k"
    # shellcheck disable=SC2016
    unshare -m --propagation private bash -c '"${@:3}" >/dev/null || exit 125; "$2" -c "$1"' - "$T/k" "$TREEHASH" "$@" |
        without_root >"$T/got"
}

# bats test_tags=root
@test "our upper, mounted by kernel overlayfs and fuse-overlayfs over the same lowers" {
    LOWER=$(unpacked "oci:$T/in/base" "$T/home/base")
    changes
    if [ "$E2E_STYLE" = chardev ]; then
        mounted mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$U,workdir=$W" "$T/k"
        diff "$T/want" "$T/got"
        rm -rf "${W:?}"/*
    fi
    needs fuse-overlayfs
    mounted fuse-overlayfs -o "lowerdir=$LOWER,upperdir=$U,workdir=$W" "$T/k"
    diff "$T/want" "$T/got"
}

# bats test_tags=root
@test "umoci unpacks what was exported to the same tree" {
    needs umoci
    LOWER=$(unpacked "oci:$T/in/base" "$T/home/base")
    changes
    fuss_bare image export "--upperdir=$U" "--lowerdir=$LOWER" "--oci=$T/home/out:new" "--base=oci:$T/in/base:t"
    umoci unpack --image "$T/home/out:new" "$T/home/bundle"
    "$TREEHASH" -c "$T/home/bundle/rootfs" | without_root | diff "$T/want" -
}

# bats test_tags=root
@test "skopeo takes what was exported; what it makes of an image unpacks to the same tree" {
    local form
    needs skopeo
    LOWER=$(unpacked "oci:$T/in/base" "$T/home/base")
    changes
    fuss_bare image export "--upperdir=$U" "--lowerdir=$LOWER" "--oci=$T/home/out:new" "--base=oci:$T/in/base:t"
    skopeo copy -q --insecure-policy "oci:$T/home/out:new" "docker-archive:$T/home/d.tar:t:1"
    skopeo copy -q --insecure-policy --dest-compress-format zstd "oci:$T/home/out:new" "oci:$T/home/z:t"
    UPPER=
    for form in "docker-archive:$T/home/d.tar" "oci:$T/home/z:t"; do
        LOWER=$(unpacked "$form" "$T/home/${form%%:*}")
        fuss_run "$TREEHASH" -c "$M" | without_root | diff "$T/want" -
    done
}
