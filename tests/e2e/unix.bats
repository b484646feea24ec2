# AF_UNIX sockets with names in the union.
load ../lib/fuss

@test "stream and datagram sockets bound in a new directory" {
    mkdir "$L1/run"
    is "$(probe unixsock "$M/run")" ok
    [ -d "$U/run" ]
}

@test "a short virtual path over a real path longer than a socket name" {
    long=$T/home/$(printf 'l%.0s' $(seq 120))
    mkdir -p "$long/u" "$long/w" "$long/l1/run"
    U=$long/u UPPER=$long/u W=$long/w LOWER=$long/l1
    chmod 755 "$long"
    is "$(probe unixsock "$M/run")" ok
    [ -d "$long/u/run" ]
}

@test "two programs of one session meet at a socket" {
    mkdir "$L2/run"
    shows "$PROG/unixsock serve run/s | while read -r l; do echo \$l; done & sleep 0.7
        $PROG/unixsock connect \$M/run/s; wait; ls -l run | grep -c '^s'" <<'EOT'
ready
connected
1
EOT
}

@test "a socket is found under its new name" {
    shows "$PROG/unixsock serve s >/dev/null & sleep 0.7; mv s t; $PROG/unixsock connect s
        $PROG/unixsock connect t; wait" <<'EOT'
ENOENT
connected
EOT
}

@test "names that are taken" {
    mk "$L2/f" x
    shows "$PROG/unixsock connect f" <<<ECONNREFUSED
}

@test "a name with a slash behind it is no socket, in the union and out of it" {
    mkdir "$L2/run"
    shows "cd run; for s in s/ ../../s/; do $PROG/unixsock serve \$s 2>&1 | grep -o 'errno.*'; done
        ls . ../.. | grep -x s; true" <<'EOT'
errno ENOENT)
errno ENOENT)
EOT
}

# bats test_tags=user
@test "sockets work behind a directory closed since" {
    mkdir -p "$L2/a/run"
    shows "cd a/run; chmod 600 ..; $PROG/unixsock .; ls" <<<ok
    chmod 700 "$U/a"
}

@test "sockets are found from a removed working directory too" {
    mkdir "$L2/run" "$L2/gone"
    shows "cd gone; rmdir ../gone; $PROG/unixsock ../run; $PROG/unixsock connect ..; $PROG/unixsock connect ." <<'EOT'
ok
ECONNREFUSED
ECONNREFUSED
EOT
}

@test "no socket is bound in a removed directory, by whatever name" {
    mkdir "$L2/gone"
    shows "cd gone; exec 3<.; rmdir ../gone
        for s in s /proc/self/cwd/s /proc/self/fd/3/s; do $PROG/unixsock serve \$s 2>&1 | grep -o 'errno.*'; done" <<'EOT'
errno ENOENT)
errno ENOENT)
errno ENOENT)
EOT
    is "$(ls -A "$L2/gone")" ""
}
