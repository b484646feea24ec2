# Running programs and scripts that lie in the union.
load ../lib/fuss

fixture() {
    mkdir -p "$L1/bin" "$L2/bin" "$U/bin"
    cp "$PROG/ops" "$L2/bin/ops"
    mk "$L1/bin/hello" '#!/bin/sh
echo "hello $0 $*"
'
    mk "$L1/data" d && chmod 755 "$L1/bin/hello"
}

@test "a binary of a lower runs by its union path and by a relative one" {
    is "$(fuss_run "$M/bin/ops" -p <<<"cat $M/data" | sed 's/ *-> /,/')" "cat $M/data,ok d"
    shows 'echo "cat data = d" | bin/ops && cd bin && echo "getcwd" | ./ops && echo fine' <<<fine
}

@test "a script gets its union path as \$0" {
    is "$(fuss_run "$M/bin/hello" a b)" "hello $M/bin/hello a b"
    shows 'cd bin; ./hello x; PATH=$M/bin:$PATH hello y | sed "s|$M|M|"' <<'EOT'
hello ./hello x
hello M/bin/hello y
EOT
}

@test "the interpreter of a script lies in the union" {
    cp /bin/busybox "$L2/bin/busybox"
    printf '#!%s/bin/busybox sh\necho via $0\n' "$M" >"$L1/s1" && chmod 755 "$L1/s1"
    printf '#!bin/busybox sh\necho relative\n' >"$L1/s2" && chmod 755 "$L1/s2"
    ln -s busybox "$L1/bin/sh"
    printf '#!%s/bin/sh\necho by link\n' "$M" >"$L1/s3" && chmod 755 "$L1/s3"
    printf '#!%s/s1 arg\n' "$M" >"$U/s4" && chmod 755 "$U/s4"
    shows './s1 | sed "s|$M|M|"; ./s2; ./s3; ./s4 | sed "s|$M|M|"' <<'EOT'
via ./s1
relative
by link
via M/s1
EOT
}

@test "an executable of the upper, made a moment ago" {
    shows 'cp bin/ops mine; echo "cat data = d" | ./mine && echo fine
           printf "#!/bin/sh\necho made\n" >s; chmod +x s; ./s; mv s t; ./t' <<'EOT'
fine
made
made
EOT
}

# bats test_tags=dynamic
@test "an ELF interpreter that lies in the union" {
    cp "$(readelf -l /bin/true | sed -n 's/.*interpreter: \(.*\)\]/\1/p')" "$L2/ld.so"
    printf '#include <stdio.h>\nint main(void) { puts("interpreted"); return 0; }\n' >"$T/home/i.c"
    gcc "$T/home/i.c" -o "$L1/prog" -Wl,--dynamic-linker="$M/ld.so"
    is "$(fuss_run "$M/prog")" interpreted
    shows './prog' <<<interpreted
}

# bats test_tags=dynamic
@test "shared libraries of the union, by LD_LIBRARY_PATH and by rpath" {
    printf 'const char *name(void) { return "%s"; }\n' lib >"$T/home/l.c"
    printf '#include <stdio.h>\nconst char *name(void);\nint main(void) { puts(name()); return 0; }\n' \
        >"$T/home/p.c"
    gcc -shared -fPIC "$T/home/l.c" -o "$L2/libname.so"
    gcc "$T/home/p.c" -L"$L2" -lname -o "$L1/prog"
    gcc "$T/home/p.c" -L"$L2" -lname -Wl,-rpath,"$M" -o "$L1/prog2"
    shows 'LD_LIBRARY_PATH=$M ./prog; ./prog2' <<'EOT'
lib
lib
EOT
}

@test "errors of exec" {
    chmod 644 "$L1/data"
    mk "$L1/badint" '#!/no/such/interpreter' && chmod 755 "$L1/badint"
    mk "$L2/hid" x && wh "$L1" hid
    shows './data 2>/dev/null; echo $?; ./bin 2>/dev/null; echo $?; ./nope 2>/dev/null; echo $?
           ./badint 2>/dev/null; echo $?; ./hid 2>/dev/null; echo $?' <<'EOT'
126
126
127
127
127
EOT
}

# bats test_tags=fuss
@test "a 32-bit program is refused in one line" {
    # a minimal i386 ELF: exit(7)
    printf '\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0\x54\x80\x04\x08\x34\0\0\0\0\0\0\0\0\0\0\0\x34\0\x20\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x80\x04\x08\0\x80\x04\x08\x60\0\0\0\x60\0\0\0\x05\0\0\0\0\x10\0\0\xb8\x01\0\0\0\xbb\x07\0\0\0\xcd\x80' >"$L1/m32"
    chmod 755 "$L1/m32"
    expect 126 fuss_run "$M/m32"
    has "$output" '32-bit'
    is "$(printf '%s\n' "$output" | wc -l)" 1
    expect 126 sh_in './m32'
}

# bats test_tags=root
@test "a set-user-id program of a lower keeps its right" {
    cp "$PROG/ops" "$L2/suid" && chown 12345 "$L2/suid" && chmod 4755 "$L2/suid"
    shows 'stat -c %a suid; echo "geteuid = 12345" | ./suid && echo right' <<'EOT'
4755
right
EOT
}

@test "fexecve and a script by descriptor" {
    shows 'exec 8<bin/hello; sh /proc/self/fd/8 x | sed "s|/proc/self/fd/8|FD|"' <<<'hello FD x'
}

@test "the environment and arguments arrive whole" {
    FUSS_ENV=(A=1 'B=two words' C=)
    is "$(fuss_run sh -c 'printf "%s|%s|%s|%s|%s\n" "$A" "$B" "$C" "$1" "$2"' x '' 'a b')" "1|two words|||a b"
    is "$(fuss_run env -i /usr/bin/env | wc -l)" 0
}

@test "no descriptor of the session is left open in the command" {
    as_user
    native=$(cd / && "${AS[@]}" sh -c 'ls /proc/self/fd | tr "\n" " "' 3>&-)
    is "$(fuss_run sh -c 'ls /proc/self/fd | tr "\n" " "')" "$native"
}
