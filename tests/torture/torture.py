#!/usr/bin/env python3
"""Kills the supervisor, the tree or everything at random instants under mixed load, and looks at what is left.

  torture.py --fuss FUSS [--time S] [--seed N] [--backend NAME]... [--style NAME]... [--rounds N]

After each kill: nobody of the session lives on, no lower has changed, a fresh run reads the union, each
file is old or new and whole, no temporary of fuss is to be seen, the union can be written, and (chardev,
as root) kernel overlayfs mounts the same layers and shows the same. Exit status 1 at the first finding;
its directory is kept.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

WORKERS = 3
FILES = 6
TARGETS = ("supervisor", "front", "worker", "all")


def text_of(name, version, size):
    """The one content of this version of a file."""
    head = "%s %d %d\n" % (name, version, size)
    line = hashlib.sha256(head.encode()).hexdigest() + "\n"
    return (head + line * (size // len(line) + 1)).encode()


def size_of(i):
    return (50, 3000, 60000, 600000)[i % 4]


def make_lower(top):
    for d in range(WORKERS):
        for part in ("", "/sub"):
            os.makedirs("%s/d%d%s" % (top, d, part))
            for kind in "arcx":
                for i in range(FILES):
                    name = "d%d%s/%s%d" % (d, part, kind, i)
                    with open("%s/%s" % (top, name), "wb") as f:
                        f.write(text_of(name, 0, size_of(i)))
                    os.utime("%s/%s" % (top, name), (981173106, 981173106))


# --- the load: every worker in its own directory of the union, and one directory for all ---


def work(top, me, seed, seconds):
    rand = random.Random(seed * 10 + me)
    end = time.monotonic() + seconds
    version = 0
    while time.monotonic() < end:
        version += 1
        part = rand.choice(("", "/sub"))
        i = rand.randrange(FILES)
        base = "d%d%s" % (me, part)

        def path(kind):
            return "%s/%s/%s%d" % (top, base, kind, i)

        what = rand.randrange(8)
        if what == 0:  # appended to: copied up
            fd = os.open(path("a"), os.O_WRONLY | os.O_APPEND)
            os.write(fd, b"+%07d\n" % version)
            os.close(fd)
        elif what == 1:  # replaced
            tmp = "%s/%s/tmp-%d" % (top, base, me)
            with open(tmp, "wb") as f:
                f.write(text_of("%s/r%d" % (base, i), version, size_of(rand.randrange(3))))
            os.rename(tmp, path("r"))
        elif what == 2:  # metadata alone
            os.chmod(path("c"), rand.choice((0o600, 0o644, 0o755)))
        elif what == 3:  # removed
            if os.path.exists(path("x")):
                os.unlink(path("x"))
        elif what == 4:  # moved there and back
            if os.path.exists(path("x")) and not os.path.exists(path("y")):
                os.rename(path("x"), path("y"))
            elif os.path.exists(path("y")):
                os.unlink(path("y"))
        elif what == 5:
            new = "%s/%s/new%d" % (top, base, i)
            if os.path.isdir(new):
                shutil.rmtree(new)
            else:
                os.makedirs(new + "/deep")
                os.symlink("deep", new + "/link")
        elif what == 6:  # processes come and go
            subprocess.run(["ls", "-l", "%s/%s" % (top, base)], stdout=subprocess.DEVNULL, check=True)
        else:
            for name in os.listdir("%s/%s" % (top, base)):
                os.lstat("%s/%s/%s" % (top, base, name))


def load(top, seed, seconds):
    for me in range(WORKERS):
        if os.fork() == 0:
            work(top, me, seed, seconds)
            os._exit(0)
    print("ready", flush=True)
    bad = 0
    for _ in range(WORKERS):
        _, status = os.wait()
        bad |= os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0
    return 1 if bad else 0


# --- what is left ---


def view(top):
    found = {}
    for where, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(where, name)
            rel = os.path.relpath(path, top)
            st = os.lstat(path)
            entry = [st.st_mode, st.st_uid, st.st_gid]
            if os.path.islink(path):
                entry.append(os.readlink(path))
            elif not os.path.isdir(path):
                with open(path, "rb") as f:
                    data = f.read()
                entry += [st.st_size, st.st_mtime_ns, hashlib.sha256(data).hexdigest(), judge(rel, data)]
            found[rel] = entry
    return found


def judge(rel, data):
    """What is wrong with a file's content: "" where it is old or new, and whole."""
    where, name = os.path.split(rel)
    if name.startswith("tmp-"):
        return ""  # the program's own temporary
    origin = "%s/%s%s" % (where, "x" if name[0] == "y" else name[0], name[1:])
    if name[0] == "a":
        old = text_of(origin, 0, size_of(int(name[1:])))
        rest = data[len(old):]
        lines = rest.split(b"\n")
        whole = lines[-1] == b"" and all(len(x) == 8 and x[:1] == b"+" for x in lines[:-1])
        return "" if data.startswith(old) and whole else "neither the old content nor that with lines behind it"
    words = data.split(b"\n", 1)[0].split()
    if len(words) != 3 or words[0].decode() != origin or not (words[1] + words[2]).isdigit():
        return "no header of this file"
    if name[0] != "r" and words[1] != b"0":
        return "a version that nobody wrote"
    return "" if data == text_of(origin, int(words[1]), int(words[2])) else "not the whole of its version"


class Finding(Exception):
    pass


def tracer_of(pid):
    try:
        with open("/proc/%d/status" % pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith("TracerPid:"))
    except (OSError, StopIteration):
        return 0


def session_pids(mark):
    pids = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/cmdline" % name, "rb") as f:
                if mark.encode() in f.read():
                    pids.append(int(name))
        except OSError:
            pass
    return pids


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Round:
    def __init__(self, options, backend, style, seed):
        self.fuss, self.backend, self.style, self.seed = options.fuss, backend, style, seed
        self.rand = random.Random(seed)
        self.target = TARGETS[seed % len(TARGETS)]
        self.top = os.path.realpath(tempfile.mkdtemp(prefix="torture."))
        for name in ("lower", "upper", "work", "m"):
            os.mkdir("%s/%s" % (self.top, name))

    def command(self, backend, *args):
        t = self.top
        return [self.fuss, "--backend=" + backend, "--whiteout=" + self.style, "--mountpoint=%s/m" % t,
                "--lowerdir=%s/lower" % t, "--upperdir=%s/upper" % t, "--workdir=%s/work" % t, "--",
                sys.executable, "-B", os.path.abspath(__file__)] + list(args)

    def strike(self):
        env = dict(os.environ, FUSS_SHIM_AFTER="1")
        front = subprocess.Popen(self.command(self.backend, "--load", self.top + "/m", "--seed", str(self.seed)),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=env)
        if front.stdout.readline() != b"ready\n":
            raise Finding("the load did not start")
        pids = session_pids(self.top)
        traced = [p for p in pids if tracer_of(p)]
        supervisor = tracer_of(traced[0]) if traced else 0
        if not supervisor:
            raise Finding("nobody traces the load")
        time.sleep(self.rand.uniform(0.0, 0.5))
        if self.target == "all":
            kill(pids)
        else:
            kill([{"supervisor": supervisor, "front": front.pid, "worker": self.rand.choice(traced)}[self.target]])
        if self.target == "worker":  # the others go on for a while
            time.sleep(0.2)
            kill([front.pid])
        front.stdout.close()
        front.wait(timeout=20)
        end = time.monotonic() + 10
        while session_pids(self.top):
            if time.monotonic() > end:
                raise Finding("still there after the kill: %s" % session_pids(self.top))
            time.sleep(0.02)

    def see(self, command):
        ran = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)
        if ran.returncode:
            raise Finding("a fresh look failed: %s" % command[0])
        return json.loads(ran.stdout)

    def look(self):
        seen = self.see(self.command("ptrace", "--view", self.top + "/m"))
        for rel, entry in seen.items():
            name = os.path.basename(rel)
            if not (name[0] in "arcxyd" or name.startswith(("tmp-", "sub", "new", "link"))):
                raise Finding("a stray name: %s" % rel)
            if len(entry) == 7 and entry[6]:
                raise Finding("%s: %s" % (rel, entry[6]))
        for d in range(WORKERS):
            for part in ("", "/sub"):
                for kind in "arc":
                    for i in range(FILES):
                        if "d%d%s/%s%d" % (d, part, kind, i) not in seen:
                            raise Finding("lost: d%d%s/%s%d" % (d, part, kind, i))
        if self.see(self.command("hybrid", "--view", self.top + "/m")) != seen:
            raise Finding("the two backends show different unions")
        if self.style == "chardev" and os.geteuid() == 0:
            self.look_by_kernel(seen)
        ran = subprocess.run(self.command(self.backend, "--load", self.top + "/m", "--seed", "1", "--seconds", "0.1"),
                             stdout=subprocess.DEVNULL, timeout=60)
        if ran.returncode:
            raise Finding("the union cannot be changed any more")

    def look_by_kernel(self, seen):
        t = self.top
        os.mkdir(t + "/kernel-work")
        script = 'mount -t overlay overlay -o "lowerdir=$0/lower,upperdir=$0/upper,workdir=$0/kernel-work" "$0/m" ' \
            '&& exec "$@"'
        shown = self.see(["unshare", "-m", "--propagation", "private", "sh", "-c", script, t, sys.executable, "-B",
                          os.path.abspath(__file__), "--view", t + "/m"])
        if shown != seen:
            odd = [k for k in sorted(set(shown) | set(seen)) if shown.get(k) != seen.get(k)]
            raise Finding("kernel overlayfs shows something else: %s" % odd[:5])

    def run(self):
        make_lower(self.top + "/lower")
        before = view(self.top + "/lower")
        self.strike()
        self.look()
        if view(self.top + "/lower") != before:
            raise Finding("the lower has changed")
        shutil.rmtree(self.top)


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--fuss")
    parse.add_argument("--time", type=float, default=60)
    parse.add_argument("--rounds", type=int, default=1 << 30)
    parse.add_argument("--seed", type=int, default=0)
    parse.add_argument("--backend", action="append")
    parse.add_argument("--style", action="append")
    parse.add_argument("--load")
    parse.add_argument("--seconds", type=float, default=5)
    parse.add_argument("--view")
    options = parse.parse_args()
    if options.view:
        print(json.dumps(view(options.view)))
        return 0
    if options.load:
        return load(options.load, options.seed, options.seconds)
    backends = options.backend or ["ptrace", "hybrid"]
    styles = options.style or (["chardev", "fileprefix"] if os.geteuid() == 0 else ["fileprefix"])
    ways = [(b, s) for b in backends for s in styles]
    end = time.monotonic() + options.time
    done = 0
    while done < options.rounds and time.monotonic() < end:
        seed = options.seed + done
        # Every way meets every target.
        backend, style = ways[seed // len(TARGETS) % len(ways)]
        one = Round(options, backend, style, seed)
        try:
            one.run()
        except (Finding, subprocess.TimeoutExpired) as e:
            kill(session_pids(one.top))
            print("seed %d, %s, %s, %s killed: %s; left in %s" % (seed, backend, style, one.target, e, one.top))
            return 1
        done += 1
    print("%d rounds, nothing found" % done)
    return 0 if done else 1


sys.exit(main())
