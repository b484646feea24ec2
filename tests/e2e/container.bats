# `fuss --image`: the layers and the config of an image, kept in a cache.
# runs: light
# bats file_tags=fuss
load ../lib/fuss

fixture() {
    LOWER=$L1
    FUSS_ENV=("XDG_CACHE_HOME=$T/home/cache" TERM=dumb LEAK=host)
}

# image CONFIG: $IMAGE
image() {
    rm -rf "$T/in"
    python3 "$E2E_ROOT/tests/lib/images.py" busybox "$T/in" "$1"
    hand_over "$T"
    IMAGE=oci:$T/in
}

hand_over() {
    [ "$(id -u)" != 0 ] || [ "$E2E_USER" = root ] || chown -hR "$E2E_USER_NAME:" "$@"
}

# box ARG...: fuss with the image and the upper
box() {
    fuss_bare "--backend=$E2E_BACKEND" "--whiteout=$E2E_STYLE" "--image=$IMAGE" "--upperdir=$U" "$@"
}

cached() {
    find "$T/home/cache/fuss/images" -mindepth 1 -maxdepth 1 -printf '%f\n' | grep -vxE '[0-9a-f]{64}'
}

@test "environment, entry point, command and directory are the image's" {
    image '{"Env": ["FOO=a=b", "X=1"], "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["echo $FOO $X $HOME $TERM ${LEAK-none}; pwd; cat kept more; ls; echo new >f", "sh"],
            "WorkingDir": "/srv"}'
    is "$(box)" "a=b 1 $([ "$E2E_USER" = root ] && echo /root || echo /) dumb none
/srv
kept
more
kept
more"
    is "$(cat "$U/srv/f")" new
    is "$(find "$T/home/cache/fuss/images" -mindepth 1 -maxdepth 1 | wc -l)" 2
    is "$(box --no-default-binds --env=FOO=mine -w /etc -- 'echo $FOO $X; ls; echo $0')" $'mine 1\ngroup\npasswd\n/bin/sh'
    is "$(box --entrypoint=/bin/env --clear-env -- | sort)" "FOO=a=b
HOME=$([ "$E2E_USER" = root ] && echo /root || echo /)
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
X=1"
    is "$(box --entrypoint= -- cat kept)" kept
}

@test "without a config of its own; without an upper; at another place" {
    image '{"Cmd": null, "Env": ["PATH=/bin", "HOME=/srv"]}'
    refused 2 'no command' box
    is "$(box -- sh -c 'pwd; echo $HOME; ls srv/../srv/gone || echo $?' 2>&1)" \
        $'/\n/srv\nls: srv/../srv/gone: No such file or directory\n1'
    expect 1 fuss_bare "--image=$IMAGE" -- sh -c 'echo x >/srv/kept'
    has "$output" 'Read-only'
    is "$(fuss_bare "--image=$IMAGE" "--mountpoint=$M" -- /bin/cat "$M/srv/kept")" kept
}

@test "what the config file says of layers gives way to the image" {
    image '{"Entrypoint": ["/bin/cat", "/srv/kept"]}'
    printf 'mountpoint: %s\nlowerdir: %s\n' "$M" "$L1" >"$T/home/.fuss"
    is "$(box)" kept
    refused 2 'take one of them' box "--lowerdir=$L2"
}

@test "a docker archive" {
    python3 "$E2E_ROOT/tests/lib/images.py" docker "$T/in"
    hand_over "$T"
    IMAGE=docker-archive:$T/in/docker.tar
    is "$(box)" $'kept\nmore'
    LOWER=$(fuss_bare image unpack "--whiteout=$E2E_STYLE" "$IMAGE" "$T/home/dest") UPPER=
    is "$(lower_list | wc -l)" 3
    shows 'ls srv' <<<$'kept\nmore'
}

@test "many at once, and killed ones" {
    local n dir=$T/home/cache/fuss/images
    image '{"Entrypoint": ["/bin/cat", "/srv/kept", "/srv/more"]}'
    for n in 1 2 3 4 5; do
        fuss_bare "--image=$IMAGE" >"$T/home/out$n" 2>&1 &
    done
    wait
    is "$(cat "$T"/home/out?)" "$(for n in 1 2 3 4 5; do printf 'kept\nmore\n'; done)"
    is "$(cached)" ''
    for n in 01 02 03 04; do
        rm -rf "$dir"
        as_user
        timeout -s KILL "0.$n" "${AS[@]}" "$FUSS" "--image=$IMAGE" >/dev/null 2>&1 || true
        is "$(fuss_bare "--image=$IMAGE")" $'kept\nmore'
        is "$(cached)" ''
    done
    # what one left that was killed in the middle
    n=$(basename "$(find "$dir" -mindepth 1 -maxdepth 1 | head -1)")
    mv "$dir/$n" "$dir/$n.part"
    : >"$dir/$n.lock"
    mkdir -p "$dir/$n.part/closed/below"
    chmod 0 "$dir/$n.part/closed"
    hand_over "$dir"
    is "$(fuss_bare "--image=$IMAGE")" $'kept\nmore'
    is "$(cached)" ''
}

@test "what cannot be run, or is not what it says" {
    local blob
    image '{"User": "ana:nobody", "Cmd": ["/bin/id"]}'
    refused 125 'user ana:nobody is not in its' box
    image '{"Env": ["x"]}'
    refused 125 'no NAME=VALUE' box
    image '{"WorkingDir": "srv"}'
    refused 125 'no absolute path' box
    refused 2 'neither oci' fuss_bare --image=alpine
    refused 2 'of no use without an image' fuss_bare --entrypoint=/bin/sh
    image '{"Cmd": ["/bin/cat", "/srv/kept"]}'
    rm -rf "$T/home/cache"
    blob=$(find "$T/in/blobs" -size +200k)
    printf x >>"$blob"
    refused 125 'digest|cannot be unpacked' box
    is "$(cached)" ''
    rm -r "$T/home/cache"
    mkdir -m 777 "$T/home/cache" "$T/home/cache/fuss"
    chmod 777 "$T/home/cache/fuss"
    hand_over "$T/home"
    refused 125 "not this user's own" box
}

@test "the image's user: root becomes him, others believe to be" {
    image '{"User": "ana:band", "Cmd": ["/bin/sh", "-c", "id -u; id -g; id -G; echo $HOME; cat /srv/kept; exec /bin/id"]}'
    # an upper that he may search, in a place that he may reach
    chmod 755 "$T/home"
    FUSS_ENV=("XDG_CACHE_HOME=$T/home/cache")
    if [ "$E2E_USER" = root ]; then
        mkdir -p "$T/home/cache/fuss/images"
        chmod 711 "$T"/home/cache{,/fuss,/fuss/images}
    fi
    expect 0 box
    is "$output" $'7\n9\n9\n/srv\nkept\nuid=7(ana) gid=9(band) groups=9(band)'
    [ "$E2E_USER" = user ] || expect 1 box --entrypoint=/bin/sh -- -c 'echo x >/etc/new'
    is "$(box -0 --entrypoint=/bin/sh -- -c 'id -u; echo $HOME; chown 7 /srv/kept; stat -c %u /srv/kept; echo x >/etc/new')" \
        $'0\n/root\n7'
    expect 0 box -i 5:6 -- /bin/sh -c 'id -u; id -g'
    is "$output" $'5\n6'
}
