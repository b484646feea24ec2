# configure && make -j2 of a real C project over its untouched source.
# runs: light
load ../lib/fuss

fixture() {
    RUN_TIMEOUT=240
    SRC=$E2E_BIN/source/zlib
    if [ ! -d "$SRC" ]; then
        SRC=$E2E_ROOT/build/source/zlib
    fi
}

@test "configure, make -j2 and the project's own tests, the mountpoint being the source" {
    if [ -d "$SRC" ]; then
        cp -a "$SRC/." "$L1"
        script='./configure >/dev/null && make -j2 >make.log 2>&1 && make test >test.log 2>&1 &&
            echo hello | ./minigzip | ./minigzip -d && make clean >/dev/null && ls *.o 2>/dev/null | wc -l'
        want='hello
0'
    else
        # No package source on this machine: the project's own.
        cp -a "$E2E_ROOT"/{Makefile,common,tracer,tests,scripts} "$L1"
        script='make -j2 build/fuss >make.log 2>&1 && build/fuss --version | cut -c1-4'
        want=fuss
    fi
    cp -a "$L1" "$T/home/plain"
    MOUNT=$L1 LOWER=$L1
    is "$(sh_in "PATH=/usr/bin:\$PATH; $script" </dev/null)" "$want"
    (cd "$T/home/plain" && bash -c "$script" >/dev/null)
    is "$(sh_in 'find . | LC_ALL=C sort')" "$(cd "$T/home/plain" && find . | LC_ALL=C sort)" "files after the build"
}

@test "an incremental build makes nothing anew" {
    mk "$L1/Makefile" 'prog: a.o b.o
	cc -o $@ $^
%.o: %.c h.h
	cc -c -o $@ $<
'
    mk "$L1/a.c" '#include "h.h"
int b(void);
int main(void) { return b() + N; }
' && mk "$L1/b.c" '#include "h.h"
int b(void) { return N; }
' && mk "$L2/h.h" '#define N 2
'
    shows 'PATH=/usr/bin:$PATH; make -s && ./prog; echo $?; make | sed "s/^make: //"' <<'EOT'
4
'prog' is up to date.
EOT
    shows 'PATH=/usr/bin:$PATH; ./prog; echo $?; make -q; echo $?; sleep 1; echo "#define N 3" >h.h; make -s; ./prog; echo $?' <<'EOT'
4
0
6
EOT
    is "$(cat "$L2/h.h")" '#define N 2'
}
