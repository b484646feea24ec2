# Python, sqlite, scripts and shells whose files lie in layers.
# runs: light
load ../lib/fuss

fixture() {
    RUN_TIMEOUT=120
}

@test "python with its whole library in the lower" {
    lib=$(/usr/bin/python3 -c 'import os; print(os.path.dirname(os.__file__))')
    MOUNT=$T/py/lib/$(basename "$lib") LOWER=$lib
    mkdir -p "$MOUNT"
    is "$(fuss_run env PYTHONHOME="$T/py" PYTHONDONTWRITEBYTECODE= /usr/bin/python3 -S -c '
import json, os, sys, email.message, xml.dom.minidom, unittest, difflib
assert os.__file__.startswith(sys.argv[1]), os.__file__
print(json.dumps({"n": 1}), len(os.listdir(os.path.dirname(os.__file__))) > 100)
' "$MOUNT")" '{"n": 1} True'
}

@test "python writes its byte code into the upper" {
    mk "$L1/pkg/__init__.py" 'value = 41' && mk "$L2/pkg/more.py" 'more = 1' && mk "$L1/run.py" '
import pkg, pkg.more
print(pkg.value + pkg.more.more)'
    shows 'python3 run.py && ls pkg/__pycache__ | wc -l | tr -d " "; python3 run.py; python3 -m compileall -q . && echo compiled' <<'EOT'
42
2
42
compiled
EOT
    [ -d "$U/pkg/__pycache__" ] && [ ! -e "$L1/pkg/__pycache__" ]
}

@test "python's temporary files, shutil and pathlib" {
    mkdir "$L1/data" && for i in 1 2 3; do echo "$i" >"$L1/data/$i"; done
    cat >"$L1/work.py" <<'EOT'
import os, pathlib, shutil, tempfile
shutil.copytree("data", "copy")
shutil.move("data", "moved")
with tempfile.NamedTemporaryFile(dir=".", delete=False) as f:
    f.write(b"x")
os.replace(f.name, "copy/1")
print(sorted(str(p) for p in pathlib.Path(".").rglob("*[123]")))
shutil.rmtree("moved")
print(sorted(os.listdir(".")), os.path.realpath("copy") == os.path.join(os.getcwd(), "copy"))
with os.scandir("copy") as it:
    print(sorted((e.name, e.is_file(), e.inode() == e.stat().st_ino) for e in it))
EOT
    shows 'python3 work.py' <<'EOT'
['copy/1', 'copy/2', 'copy/3', 'moved/1', 'moved/2', 'moved/3']
['copy', 'work.py'] True
[('1', True, True), ('2', True, True), ('3', True, True)]
EOT
}

@test "sqlite3 writes a database that lies in the lower" {
    sqlite3 "$L2/db" 'create table t(a integer primary key, b text); insert into t(b) values ("one"), ("two")'
    shows 'sqlite3 db "insert into t(b) values (\"three\"); update t set b = upper(b); select * from t; pragma integrity_check"
           sqlite3 db "pragma journal_mode=wal; begin; delete from t where a = 1; commit; select count(*) from t"
           sqlite3 new.db "create table x(y); insert into x values (1); select * from x; vacuum"; ls' <<'EOT'
1|ONE
2|TWO
3|THREE
ok
wal
2
1
db
new.db
EOT
    is "$(sqlite3 "$L2/db" 'select count(*) from t')" 2
    is "$(sqlite3 "$U/db" 'select count(*) from t')" 2
}

@test "two writers of one database lock each other out" {
    sqlite3 "$L2/db" 'create table t(a)'
    shows 'for w in 1 2 3 4; do (for i in $(seq 8); do sqlite3 -cmd ".timeout 20000" db "insert into t values ($w)"; done) & done; wait
           sqlite3 db "select count(*) from t; pragma integrity_check"' <<'EOT'
32
ok
EOT
}

@test "a script of the union run directly, with a shell of the union" {
    cp /bin/busybox "$L2/sh"
    printf '#!%s/sh\necho "$0" | sed "s|%s|M|"; cat "$(dirname "$0")/data"; echo out >>"$(dirname "$0")/data"\n' "$M" "$M" >"$L1/script"
    chmod 755 "$L1/script" && mk "$L1/data" 'data
'
    is "$(fuss_run "$M/script")" "M/script
data"
    is "$(fuss_run "$M/script")" "M/script
data
out"
    is "$(cat "$L1/data")" data
}

@test "busybox, static, as the shell for a day's work" {
    mkdir "$L1/bin" && cp /bin/busybox "$L1/bin/busybox" && mk "$L2/etc/conf" 'a=1
b=2
'
    is "$(fuss_run "$M/bin/busybox" sh -c 'cd "$0" && export PATH="$0/bin" && busybox --install -s bin 2>/dev/null
        sed -i s/1/9/ etc/conf && cat etc/conf && awk -F= "{s += \$2} END {print s}" etc/conf
        tar cf t.tar etc && rm -r etc && tar xf t.tar && find etc | sort && gzip t.tar && zcat t.tar.gz | wc -c >/dev/null
        for i in 1 2 3; do echo $i; done >etc/n && sort -r etc/n | head -1 && vi --help 2>/dev/null; ls' "$M")" "a=9
b=2
11
etc
etc/conf
3
bin
etc
t.tar.gz"
}

@test "tail -F, a writer beside a reader" {
    mk "$L2/log" 'first
'
    shows 'exec 2>/dev/null; (sleep 0.5; for i in 1 2 3; do echo line$i >>log; sleep 0.2; done) & timeout 4 tail -n +1 -F log 2>/dev/null | head -4; wait' <<'EOT'
first
line1
line2
line3
EOT
}

@test "compilers and archives: ar, ld, strip on lower objects" {
    mk "$L2/a.c" 'int a(void) { return 5; }' && mk "$L1/main.c" 'int a(void); int main(void) { return a(); }'
    shows 'PATH=/usr/bin:$PATH; cc -c a.c && /usr/bin/ar rcs liba.a a.o && cc -O2 -o prog main.c liba.a && ./prog; echo $?; strip prog && ./prog; echo $?; rm *.o; ls' <<'EOT'
5
5
a.c
liba.a
main.c
prog
EOT
}
