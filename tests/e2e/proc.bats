# Paths of the union in /proc.
load ../lib/fuss

fixture() {
    mk "$L2/f" low && mkdir "$L1/d"
}

@test "magic links say and lead to union paths" {
    has "$(probe procfs "$M")" "^exe $PROG/procfs$"
}

@test "the program's own image in the union" {
    cp "$PROG/procfs" "$L2/prog"
    has "$(fuss_run "$M/prog" "$M")" "^exe $M/prog$"
}

@test "another process's links" {
    shows 'cd d; sleep 30 & p=$!; readlink /proc/$p/cwd | sed "s|$M|M|"
           ls /proc/$p/cwd/..; kill $p' <<'EOT'
M/d
d
f
EOT
}

@test "/dev/stdin names the union's file" {
    shows 'readlink /proc/self/fd/0 <f | sed "s|$M|M|"; cat /dev/stdin <f; echo; readlink -f /dev/stdin <f | sed "s|$M|M|"' <<'EOT'
M/f
low
M/f
EOT
}

@test "output through /dev/stdout and /dev/fd reaches the copy" {
    shows 'echo one >new; exec 7<>f; echo X >/dev/fd/7; exec 7>&-; cat f' <<'EOT'
X
EOT
    is "$(cat "$U/f")" X
}

@test "mappings are said by their union paths" {
    cp /bin/busybox "$L2/cat"
    fuss_run "$M/cat" /proc/self/maps >"$T/home/maps"
    has "$(cat "$T/home/maps")" " $M/cat$"
    is "$(grep -c "$L2" "$T/home/maps")" 0
    fuss_run "$M/cat" /proc/self/smaps >"$T/home/maps"
    is "$(grep -c "$L2" "$T/home/maps")" 0
    has "$(cat "$T/home/maps")" "^Rss: "
    fuss_run /bin/sh -c '/bin/cat /proc/self/maps >/dev/null && exec 3</proc/self/maps && [ -e /proc/self/fd/3 ]'
}
