# The file tools over thousands of files, compared with the same on a plain copy.
# runs: light
load ../lib/fuss

# 1200 files in the lowers, some removed and replaced by the layers above.
fixture() {
    RUN_TIMEOUT=120
    local d i
    for d in $(seq 20); do
        mkdir -p "$L2/tree/d$d"
        (cd "$L2/tree/d$d" && for i in $(seq 60); do echo "$d $i needle$((i % 7))" >"f$i"; done)
    done
    ln -s d1/f1 "$L2/tree/link" && mkfifo "$L2/tree/pipe" && : >"$L2/tree/empty"
    mkdir -p "$L1/tree/d3" "$L1/tree/d41" "$U/tree/d5"
    echo replaced >"$L1/tree/d3/f3" && echo added >"$L1/tree/d41/f1" && echo up >"$U/tree/d5/new"
    wh "$L1" tree/d7 && wh "$U" tree/d8/f8
    chmod 600 "$L2/tree/d9/f9"
    find "$L2" -exec touch -h -d '2010-01-01 00:00:01 UTC' {} +
    touch -h -d '2010-01-01 00:00:03 UTC' "$L1/tree/d3/f3" "$L1/tree/d41/f1" "$U/tree/d5/new" "$U/tree/d5" "$L1/tree/d3" "$L1/tree" \
        "$U/tree" "$U/tree/d8"
    # what the union must look like, as a plain tree
    P=$T/home/plain
    mkdir "$P"
    cp -a "$L2/tree" "$P/" && rm -r "$P/tree/d7" "$P/tree/d8/f8" && cp -a "$L1/tree/d3/f3" "$P/tree/d3/"
    cp -a "$L1/tree/d41" "$P/tree/" && cp -a "$U/tree/d5/new" "$P/tree/d5/"
    touch -r "$U/tree/d5" "$P/tree/d5"
}

both() {
    is "$(sh_in "$1" 2>&1)" "$(cd "$P" && LC_ALL=C bash -c "$1" 2>&1)" "$1"
}

# The union's tree and a plain tree have the same content: by a probe inside the union.
same_tree() {
    is "$(fuss_run "$PROG/treehash" -c "$M/$1" | md5sum)" "$("$TREEHASH" -c "$2" | md5sum)" \
        "tree $1 and $2" || {
        diff <(fuss_run "$PROG/treehash" -c "$M/$1") <("$TREEHASH" -c "$2") | head -20
        return 1
    }
}

@test "find, ls -lR, du, grep -r, wc agree with a plain tree" {
    both 'find tree | sort'
    [ "$E2E_LINKAGE" != dynamic ] || both 'find tree -type f -newermt "2010-01-01 00:00:02 UTC" | sort'
    both 'find tree -type f -size -1c | sort; find tree -perm 600 -type f'
    both 'grep -r needle3 tree/d1 tree/d3 tree/d4 | sort | md5sum'
    both 'grep -rl replaced tree/d1 tree/d3; grep -rc x tree/d5 | sort'
    both 'cat tree/*/f* | md5sum; find tree -type f | wc -l | tr -d " "; find tree -type d | wc -l | tr -d " "'
    # shellcheck disable=SC2012
    is "$(sh_in 'ls -lR tree/d*' | awk '!/^total/ && !/^d/ {print $1, $3, $5, $NF}' | md5sum)" \
        "$(chown -R --reference="$L1" "$P" && cd "$P" && LC_ALL=C ls -lR tree/d* | awk '!/^total/ && !/^d/ {print $1, $3, $5, $NF}' | md5sum)"
    same_tree tree "$P/tree" || {
        [ "$E2E_USER" = user ] && chown -hR "$E2E_USER_NAME:" "$P" && same_tree tree "$P/tree"
    }
}

@test "du counts every file once" {
    is "$(sh_in 'du -a tree | wc -l | tr -d " "')" "$(cd "$P" && find tree | wc -l)"
}

@test "tar out of the union, and into it" {
    seal_lowers
    [ "$E2E_USER" = root ] || chown -hR "$E2E_USER_NAME:" "$P"
    # The listing first: the kernel marks a hand-made upper while it is read, and tar notices.
    sh_in 'ls -R tree >/dev/null; tar cf ../home/out.tar tree && mkdir in && cd in && tar xf ../../home/out.tar'
    mkdir "$T/home/x" && tar xf "$T/home/out.tar" -C "$T/home/x"
    diff <("$TREEHASH" -c "$T/home/x/tree") <("$TREEHASH" -c "$P/tree")
    is "$(sh_in 'diff -r tree in/tree 2>&1 | grep -v pipe; find in | wc -l | tr -d " "')" \
        "$(($(cd "$P" && find tree | wc -l) + 1))"
}

@test "tar over existing lower files replaces them in the upper" {
    (cd "$L2" && tar cf "$T/home/d1.tar" tree/d1)
    shows 'for i in 1 2 3; do echo changed >tree/d1/f$i; done; tar xf ../home/d1.tar; cat tree/d1/f2; ls tree/d1 | wc -l | tr -d " "' <<'EOT'
1 2 needle2
60
EOT
}

@test "cp -a of the whole tree inside the union" {
    sh_in 'cp -a tree copy'
    is "$(sh_in 'cd copy && find . | sort | md5sum')" "$(cd "$P/tree" && find . | LC_ALL=C sort | md5sum)"
    is "$(sh_in 'diff -r tree copy 2>&1 | grep -v pipe; stat -c %y copy/d1/f1')" \
        "$(stat -c %y "$P/tree/d1/f1")"
}

# bats test_tags=dynamic
@test "rsync -a into, out of and within the union" {
    mkdir "$T/home/r" && seal_lowers && chown --reference="$U" "$T/home/r"
    sh_in 'rsync -a tree/ mirror/ && rsync -a --delete tree/ ../home/r/ && rsync -ain --delete tree/ mirror/ | grep -v "^\." | head'
    is "$(sh_in 'rsync -ai --delete tree/ mirror/ | head -3')" ""
    is "$(cd "$T/home/r" && find . | LC_ALL=C sort | md5sum)" "$(cd "$P/tree" && find . | LC_ALL=C sort | md5sum)"
    sh_in 'rm -r tree/d1; echo x >tree/d2/f2; rsync -a --delete tree/ mirror/; [ ! -e mirror/d1 ] && cmp tree/d2/f2 mirror/d2/f2'
}

@test "rm -rf of thousands of files leaves one whiteout" {
    sh_in 'rm -rf tree && [ ! -e tree ] && ls -a | tr "\n" " "' >"$T/home/o"
    is "$(cat "$T/home/o")" ". .. "
    upper_is <<<'W tree'
    sh_in 'mkdir tree && ls tree && echo 1 >tree/f'
    is "$(sh_in 'find tree | sort | tr "\n" " "')" "tree tree/f "
}

@test "mv of a directory with thousands of lower files" {
    sh_in 'mv tree moved'
    is "$(sh_in 'find moved | sort | sed s/^moved/tree/ | md5sum; ls')" "$(cd "$P" && find tree | LC_ALL=C sort | md5sum)
moved"
}

@test "chmod -R, chown -R and touch reach everything" {
    sh_in 'chmod -R go= tree; find tree -type f -perm /077 | wc -l | tr -d " "; find tree -exec touch -h -d "2011-01-01 00:00:00" {} + ; find tree -name f1 -newer tree/d2 | wc -l | tr -d " "' >"$T/home/o"
    is "$(head -1 "$T/home/o")" 0
    is "$(find "$U/tree" -type f ! -name ".wh.*" | wc -l)" "$(cd "$P" && find tree -type f | wc -l)"
}

@test "a second session sees what the first one left" {
    sh_in 'cp -r tree/d1 tree/new; rm -r tree/d2; mv tree/d3/f3 tree/d4/moved; echo x >>tree/d5/f5' || false
    (cd "$P" && cp -r tree/d1 tree/new && rm -r tree/d2 && mv tree/d3/f3 tree/d4/moved && echo x >>tree/d5/f5)
    both 'find tree | sort; cat tree/*/f* tree/d4/moved | md5sum'
}

# bats test_tags=chardev,root
@test "the kernel's overlayfs mounts our upper and sees the same tree" {
    sh_in 'cp -r tree/d1 tree/new; rm -r tree/d2; mv tree/d3/f3 tree/d4/moved; echo x >>tree/d5/f5
           mkdir tree/d2; echo new >tree/d2/n; rm tree/d6/f6; mv tree/d10 tree/renamed; ln -s x tree/sl'
    ours=$(fuss_run "$PROG/treehash" -c "$M")
    kernels=$(E2E_BACKEND=oracle fuss_run "$TREEHASH" -c "$M")
    is "$(md5sum <<<"$kernels")" "$(md5sum <<<"$ours")" "the kernel's view (got) and ours (want)" || {
        diff <(echo "$ours") <(echo "$kernels") | head -20
        false
    }
}
