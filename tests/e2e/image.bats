# `fuss image`: the layers of good images, and hostile ones, of which nothing is left.
# runs: light
# bats file_tags=fuss
load ../lib/fuss

fixture() {
    mkdir "$T/in"
    mk "$T/secret" secret
    LOWER=$T/l1
}

image() {
    python3 "$E2E_ROOT/tests/lib/images.py" "$1" "$T/in/${2:-$1}"
}

# lists what is around DEST
around() {
    (cd "$T" && find . -path ./in -prune -o -path ./seals -prune -o -print | sort)
}

# hostile KIND PATTERN: refused with one line, and nothing made anywhere.
hostile() {
    local before
    image "$1"
    before=$(around)
    refused 125 "^fuss: .*$2" fuss_bare image unpack "oci:$T/in/$1" "$T/home/dest"
    is "$(around | grep -v '^./seals')" "$before" "$1"
    [ "$E2E_USER" = user ] || [ "$1" = many ] || refused 125 "^fuss: .*$2" "$E2E_BIN/tests/image-asan" image unpack "oci:$T/in/$1" "$T/home/dest"
    is "$(around)" "$before" "$1 (sanitizers)"
    rm -r "$T/in/$1"
}

# good KIND: unpacked, and shown as it should be.
good() {
    local lower accent=$'e\xcc\x81' # as it is in the archive: names are bytes
    image "$1" g
    [ "$E2E_USER" = root ] || chown -R "$E2E_USER_NAME:" "$T"
    lower=$(fuss_bare image unpack "--whiteout=$E2E_STYLE" "oci:$T/in/g${2-:t}" "$T/home/dest")
    has "$lower" "^$T/home/dest/002-[0-9a-f]{12}:$T/home/dest/001-[0-9a-f]{12}\$"
    LOWER=$lower UPPER=
    shows 'find . | sort; cat etc/f dir/new; readlink l; stat -c %h etc/h; test ! -e gone; test -p pipe' <<END
.
./dir
./dir/new
./etc
./etc/f
./etc/h
./etc/nfd-$accent
./l
./null
./pipe
onetwo/etc/f
2
END
}

@test "an image's layers are unpacked and shown" {
    good good
}

@test "layers that are not compressed" {
    good plain
}

@test "owners and devices are kept, for an ordinary user as override_stat" {
    image good
    [ "$E2E_USER" = root ] || chown -R "$E2E_USER_NAME:" "$T"
    fuss_bare image unpack "oci:$T/in/good:t" "$T/home/dest"
    is "$(stat -c %a "$T/home/dest")" 700
    is "$(getfattr -n user.containers.override_stat --only-values --absolute-names "$T"/home/dest/001*/null)" \
        0:0:0666:char-1-3
    if [ "$E2E_USER" = root ]; then
        is "$(stat -c '%u:%g:%a %Y' "$T"/home/dest/001*/etc/f)" "7:8:640 981173106"
        is "$(stat -c '%a %Y' "$T"/home/dest/001*/etc)" "555 981173106"
    else
        is "$(getfattr -n user.containers.override_stat --only-values --absolute-names "$T"/home/dest/001*/etc/f)" \
            7:8:0640
    fi
}

@test "an index of platforms: this machine's" {
    good platforms ''
}

@test "names and links that lead out are refused" {
    local kind
    for kind in dotdot inner-dotdot absolute deep; do
        hostile $kind 'leads out of the layer or is too long'
    done
    for kind in symlink symlink-absolute symlink-parent; do
        hostile $kind 'goes through a link'
    done
    for kind in hardlink hardlink-absolute; do
        hostile $kind 'hard link that leads out'
    done
    hostile hardlink-symlink 'hard link to what the layer does not have'
}

@test "false markers are refused" {
    hostile whiteout-dotdot 'whiteout of nothing'
    hostile whiteout-dot 'whiteout of nothing'
    hostile below-whiteout 'below a whiteout'
    hostile disguise 'in disguise'
}

@test "bombs, broken and wrong blobs are refused" {
    hostile devices 'more than 4096 devices'
    hostile truncated 'truncated'
    hostile unknown-kind 'unknown kind'
    hostile wrong-digest 'digest|cannot be unpacked'
    hostile wrong-diff-id 'does not match the digest in the config'
    hostile digest-path 'no sha256 digest'
}

# bats test_tags=root
@test "a million names are refused before one is made" {
    hostile many 'more than 1000000 entries'
}

@test "wrong usage, and a destination that exists" {
    refused 2 'usage' fuss_bare image
    refused 2 'usage' fuss_bare image unpack "oci:$T/x"
    refused 2 'neither oci' fuss_bare image unpack "dir:$T/x" "$T/home/d"
    refused 125 'nowhere' fuss_bare image unpack "oci:$T/nowhere" "$T/home/d"
    image good
    refused 125 'exists already' fuss_bare image unpack "oci:$T/in/good" "$T/home"
}
