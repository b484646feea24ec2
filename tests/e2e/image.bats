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

# hostile KIND PATTERN: refused with one line, and nothing made anywhere. (What a process has not
# freed that ends in the middle of its work is no leak.)
hostile() {
    local before
    [ -e "$T/in/$1" ] || image "$1"
    before=$(around)
    refused 125 "^fuss: .*$2" fuss_bare image unpack "oci:$T/in/$1" "$T/home/dest"
    is "$(around | grep -v '^./seals')" "$before" "$1"
    [ "$E2E_USER" = user ] || [ "$1" = many ] || refused 125 "^fuss: .*$2" env ASAN_OPTIONS=detect_leaks=0 "$E2E_BIN/tests/image-asan" image unpack "oci:$T/in/$1" "$T/home/dest"
    is "$(around)" "$before" "$1 (sanitizers)"
    rm -r "$T/in/$1"
}

hand_over() {
    [ "$E2E_USER" = root ] || [ "$(id -u)" != 0 ] || chown -R "$E2E_USER_NAME:" "$T"
}

# good KIND: unpacked, and shown as it should be.
good() {
    local lower accent=$'e\xcc\x81' # as it is in the archive: names are bytes
    image "$1" g
    hand_over
    [ "$E2E_USER" = user ] || expect 0 "$E2E_BIN/tests/image-asan" image unpack "oci:$T/in/g${2-:t}" "$T/sanitized"
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
    hand_over
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
    image hostile .
    for kind in dotdot inner-dotdot absolute deep; do
        hostile $kind 'leads out of the layer or is too long'
    done
    for kind in symlink symlink-absolute symlink-parent swapped through-file; do
        hostile $kind 'goes through a link'
    done
    for kind in hardlink hardlink-absolute; do
        hostile $kind 'hard link that leads out'
    done
    for kind in hardlink-symlink hardlink-marker hardlink-swapped; do
        hostile $kind 'hard link to what the layer does not have'
    done
    hostile hardlink-loop 'hard link to itself'
    hostile hardlink-folder 'not permitted'
    hostile root-link 'can only be a directory'
    hostile no-name 'leads out of the layer or is too long'
    hostile long-part 'leads out of the layer or is too long'
}

@test "false markers are refused" {
    image hostile .
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
    hostile blob-link 'cannot be read'
}

@test "numbers and sizes that cannot be are refused" {
    image hostile .
    hostile attribute 'attribute user.x'
    hostile long-attribute 'attribute user.xxx'
    hostile owner 'no number of a user'
    hostile size 'cannot be unpacked|[Tt]runcated'
    hostile layers 'more than 127 layers'
    hostile loop 'nested too deeply'
    hostile nested 'not JSON'
    hostile large-index 'larger than'
}

@test "attributes and access lists are kept, an overlay's own are not" {
    local d=$T/home/dest
    image attributes
    hand_over
    setfacl -d -m u:77:rwx "$T/home" # which has no say in what is unpacked
    fuss_bare image unpack "oci:$T/in/attributes" "$d"
    d=$(echo "$d"/001*)
    is "$(getfattr -n user.hello --only-values --absolute-names "$d/f")" $'w\xc3\xb6rld'
    is "$(getfacl -ncp "$d/f")" "user::rw-
user:3:r--
user:55:rwx
group::r--
mask::rwx
other::r--"
    is "$(getfacl -ncp "$d/d" | grep default)" "default:user::rwx
default:user:56:r-x
default:group::r-x
default:mask::rwx
default:other::---"
    is "$(getfacl -ncp "$d/d/plain" "$d/named" | grep -c :)" 6 # whom "ana" means nobody here knows
    [ "$E2E_USER" = user ] || is "$(getfattr -hd -m - --absolute-names "$d/d/plain")" ''
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

@test "ten layers of 2000 names, with changes between them, show the tree that they say" {
    local lower
    python3 "$E2E_ROOT/tests/lib/images.py" ten "$T/in/ten" 2000
    hand_over
    lower=$(fuss_bare image unpack "--whiteout=$E2E_STYLE" "oci:$T/in/ten" "$T/home/dest")
    LOWER=$lower UPPER=
    is "$(lower_list | wc -l)" 10
    fuss_run find "$M" -printf '%y %m %s %Ts %P %l\n' | sed -E 's/^(d [0-9]+) [0-9]+/\1 -/' | sort -k5 >"$T/home/got"
    # An ordinary user's copies have no setuid bit, and are readable: override_stat says the rest.
    if [ "$E2E_USER" = user ]; then
        sed -Ei 's/^([df]) [0-7]+/\1 -/' "$T/in/ten/tree" "$T/home/got"
    fi
    sort -k5 "$T/in/ten/tree" | diff - "$T/home/got"
}
