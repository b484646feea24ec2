#!/usr/bin/env python3
"""Differential fuzzer: the same random operations on kernel overlayfs and under fuss.

For every seed: build the layers twice, run the actor on a real overlay mount (the oracle) and
under the subject at the same path, compare the traces and the final trees; then let the kernel
and fuse-overlayfs mount the subject's upper and compare what they show; check that no lower
changed. The mounts live in mount namespaces of their own and end with the process."""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import fixture  # noqa: E402

OUTSIDE = "out/1/2/3/4/5/6"
FUZZ_UID = 1000
TIMEOUT = 60
running = set()


class Broken(Exception):
    """The fuzzer itself could not do its work."""


def run_command(argv, user=None, timeout=TIMEOUT):
    """Runs argv in a session of its own; returns (stdout, stderr, status)."""
    kw = {}
    if user is not None and os.getuid() == 0:
        kw = {"user": user, "group": user, "extra_groups": []}
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, start_new_session=True, cwd="/", **kw)
    running.add(p)
    try:
        out, err = p.communicate(timeout=timeout)
        status = p.returncode
    except subprocess.TimeoutExpired:
        kill_group(p)
        out, err = p.communicate()
        status = "timeout"
    finally:
        running.discard(p)
    return out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), status


def kill_group(p):
    try:
        os.killpg(p.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def as_user(uid, function, *args):
    """Runs function in a child with that uid (None: as we are); its result must be JSON."""
    if uid is None or os.getuid() != 0:
        return function(*args)
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(r)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with os.fdopen(w, "w") as f:
                json.dump(function(*args), f)
            code = 0
        except BaseException as e:  # reported through the status
            sys.stderr.write("fuzz: fixture: %r\n" % e)
        finally:
            os._exit(code)
    os.close(w)
    with os.fdopen(r) as f:
        text = f.read()
    if os.waitpid(pid, 0)[1]:
        raise Broken("the fixture could not be built")
    return json.loads(text)


class Case:
    """One seed with everything that a rerun needs."""

    def __init__(self, opt, seed, user, style, link, procs, mode):
        self.opt, self.seed, self.user, self.style, self.link = opt, seed, user, style, link
        self.procs = procs
        self.mode = mode
        self.only = None
        self.ops = opt.ops
        # Half of the seeds of the file-prefix style find such markers in their layers too.
        self.markers = "wh" if style == "fileprefix" and seed % 2 else "dev"
        self.uid = FUZZ_UID if os.getuid() == 0 else os.getuid()
        self.run_as = self.uid if user == "user" else None
        self.userxattr = user == "user"

    def command(self):
        words = ["make fuzz SEED=%d OPS=%d USER=%s STYLE=%s LINK=%s" % (
            self.seed, self.ops, self.user, self.style, self.link)]
        words.append("PROCS=%d MODE=%s" % (self.procs, self.mode))
        if self.opt.backend != "ptrace":
            words.append("BACKEND=%s" % self.opt.backend)
        if self.opt.subject != "fuss":
            words.append("SUBJECT=%s" % self.opt.subject)
        if self.only:
            words.append("ONLY=%s" % ",".join(map(str, self.only)))
        return " ".join(words)

    def actor(self):
        suffix = {"dynamic": "actor", "static": "actor-static", "musl": "actor-musl"}[self.link]
        return os.path.join(self.opt.build, suffix)

    def actor_argv(self, mount, emulate):
        argv = [self.actor()]
        if self.user == "user":
            argv.append("--user")
        if self.user == "drop":
            argv.append("--drop")
        if emulate:
            argv.append("--emulate-dir-rename")
        if self.procs != 1:
            argv.append("--procs=%d" % self.procs)
        if self.only:
            argv.append("--only=," + ",".join(map(str, self.only)) + ",")
        return argv + [mount, str(self.seed), str(self.ops)]

    # -- ways to run a command over layers --

    def kernel_mount(self, side, argv, inner_user, redirect=False):
        """On a kernel overlay mount. inner_user: drop to the ordinary user inside a user
        namespace, as an unprivileged mounter would have to."""
        options = side.mount_options()
        if self.userxattr:
            options = "userxattr," + options
        if redirect:
            options = "redirect_dir=on," + options
        script = 'mount -t overlay overlay -o "$1" "$2" || exit 97; shift 2; exec "$@"'
        if inner_user:
            mapped = ["unshare", "-U", "--map-user=%d" % self.uid, "--map-group=%d" % self.uid]
            return run_command(["unshare", "-Urm", "sh", "-c", script, "sh", options, side.mount]
                               + mapped + argv, user=self.uid)
        space = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-Urm"]
        return run_command(space + ["sh", "-c", script, "sh", options, side.mount] + argv)

    def fuse_mount(self, side, argv, mount):
        """Anywhere but where the layers' absolute links lead: following one of those would make
        fuse-overlayfs wait for itself."""
        options = side.mount_options()
        script = ('fuse-overlayfs -f -o "$1" "$2" >/dev/null 2>&1 & '
                  'i=0; until mountpoint -q "$2"; do i=$((i+1)); [ $i -lt 200 ] || exit 97; '
                  'sleep 0.01; done; m=$2; shift 2; "$@"; s=$?; umount "$m"; wait; exit $s')
        return run_command(["unshare", "-m", "sh", "-c", script, "sh", options, mount] + argv,
                           timeout=5)

    def fuss(self, side, argv):
        words = [self.opt.fuss, "--mountpoint=" + side.mount,
                 "--lowerdir=" + ":".join(side.lowers), "--whiteout=" + self.style,
                 "--backend=" + self.opt.backend]
        if side.upper:
            words.append("--upperdir=" + side.upper)
        return run_command(words + ["--"] + argv, user=self.run_as)

    def plain_copy(self, side, argv):
        """A wrong union on purpose: the layers copied over each other, markers and all."""
        for layer in reversed(side.lowers + [side.base + "/u"]):
            subprocess.run(["cp", "-a", "--no-target-directory", layer, side.mount],
                           stderr=subprocess.DEVNULL, check=False)
        return run_command(argv, user=self.run_as)

    def subject(self, side, argv):
        how = self.opt.subject
        if how == "kernel":
            return self.kernel_mount(side, argv, self.user == "user")
        if how == "redirect":
            return self.kernel_mount(side, argv, False, True)
        if how == "fuse":
            return self.fuse_mount(side, argv, side.mount)
        if how == "copy":
            return self.plain_copy(side, argv)
        return self.fuss(side, argv)


class Side:
    """The layers of one run, oracle or subject. Both lie at the same path, one at a time."""

    def __init__(self, top, name, case, markers):
        self.top, self.aside = top, os.path.join(top, name)
        self.base = os.path.join(top, "run")
        self.outside = os.path.join(top, OUTSIDE)
        self.mount = self.base + "/l1" if case.mode == "over" else os.path.join(self.outside, "M")
        os.mkdir(self.base)
        if case.run_as is not None and os.getuid() == 0:
            os.chown(self.base, case.uid, case.uid)
        self.lowers, self.upper = as_user(case.run_as, fixture.build, self.base, case.seed,
                                          case.userxattr, markers, self.mount,
                                          2 if case.mode == "ro" else 1)
        if case.mode == "ro":
            self.upper = None
        self.before = {l: fixture.fingerprint(l) for l in self.lowers}

    def leave(self):
        os.rename(self.base, self.aside)

    def enter(self):
        os.rename(self.aside, self.base)

    def mount_options(self):
        options = "lowerdir=" + ":".join(self.lowers)
        if self.upper:
            options += ",upperdir=%s,workdir=%s/w" % (self.upper, self.base)
        return options

    def lower_changes(self):
        for layer in self.lowers:
            now = fixture.fingerprint(layer)
            before = self.before[layer]
            if now == before:
                continue
            for path in sorted(set(now) | set(before)):
                if now.get(path) != before.get(path):
                    yield "%s/%s: %s -> %s" % (os.path.basename(layer), path, before.get(path),
                                               now.get(path))

    def reset_outside(self, case):
        """The directories around the mountpoint, the same for every run."""
        out = os.path.join(self.top, "out")
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(os.path.join(self.outside, "M"))
        with open(os.path.join(self.outside, "a"), "w") as f:
            f.write("outside\n")
        os.mkdir(os.path.join(self.outside, "b"))
        when = 77_000_000_000
        for path, dirs, files in os.walk(out):
            for name in [path] + [os.path.join(path, n) for n in dirs + files]:
                if case.run_as is not None and os.getuid() == 0:
                    os.chown(name, case.uid, case.uid)
                os.utime(name, ns=(when, when))


class Differences:
    """The list of differences on purpose."""

    def __init__(self, path):
        with open(path) as f:
            self.entries = json.load(f)["differences"]
        self.lines = [(e["match"], e["id"]) for e in self.entries if "match" in e]
        self.ignored_xattrs = [x for e in self.entries for x in e.get("ignored_xattrs", [])]
        self.used = {}

    def allows(self, kernel, ours, style):
        for match, name in self.lines:
            if match.get("style", style) != style:
                continue
            if re.fullmatch(match["kernel"], kernel) and re.fullmatch(match["ours"], ours):
                self.used[name] = self.used.get(name, 0) + 1
                return True
        return False


def strip_number(line):
    return line.partition(" ")[2]


def first_difference(oracle, subject, differences, style):
    """Index of the first line pair that differs and is not listed; None when there is none."""
    for i in range(max(len(oracle), len(subject))):
        a = oracle[i] if i < len(oracle) else "(end)"
        b = subject[i] if i < len(subject) else "(end)"
        if a == b:
            continue
        if not differences.allows(strip_number(a), strip_number(b), style):
            return i
    return None


def other_readers_view(lines):
    """Only what must agree in fuse-overlayfs: type, mode, owner, content and mtime."""
    out = []
    for line in lines:
        line = re.sub(r" same-as=\S+| nlink=\d+| \{[^}]*\}| extents=\S*", "", line)
        if re.match(r"\S+ d ", line):
            line = re.sub(r" (size|rdev)=\S+", "", line)
        out.append(line.replace(" EOPNOTSUPP", ""))
    return out


def without_links(lines):
    return [re.sub(r" (same-as=\S+|nlink=\d+|id=\S+|\S+:d_ino!=st_ino|ino=\w+)", "", x)
            for x in lines or []]


class Result:
    def __init__(self, kind=None, text="", op=None):
        self.kind, self.text, self.op = kind, text, op
        self.stopped = False


def describe(name_a, a, name_b, b, i, context=6):
    lines = []
    for j in range(max(0, i - context), i):
        lines.append("        %s" % a[j])
    lines.append("%7s %s" % (name_a, a[i] if i < len(a) else "(end)"))
    lines.append("%7s %s" % (name_b, b[i] if i < len(b) else "(end)"))
    return "\n".join(lines)


def op_number(line):
    word = line.split(" ", 1)[0]
    return int(word) if word.isdigit() else None


def check(case, differences, quick=False):
    """Runs one case. quick: only the traces."""
    top = tempfile.mkdtemp(prefix="fuss-fuzz.")
    os.chmod(top, 0o755)
    try:
        return check_in(top, case, differences, quick)
    finally:
        if not case.opt.keep:
            force_remove(top)
        else:
            print("kept: " + top)


def force_remove(top):
    def retry(function, path, _):
        try:
            os.chmod(os.path.dirname(path), 0o700)
            os.chmod(path, 0o700)
            function(path)
        except OSError:
            pass
    shutil.rmtree(top, onerror=retry)


def split_tree(text):
    lines = text.splitlines()
    try:
        cut = lines.index("== tree")
    except ValueError:
        return lines, None
    return lines[:cut], lines[cut + 1:]


def check_in(top, case, differences, quick):
    style = case.style
    oracle = Side(top, "o", case, "dev")
    oracle.reset_outside(case)
    out, err, status = case.kernel_mount(oracle, case.actor_argv(oracle.mount, True),
                                         case.user == "user")
    if status != 0:
        raise Broken("seed %d: the oracle ended with %s: %s" % (case.seed, status, err[-500:]))
    o_trace, o_tree = split_tree(out)
    if list(oracle.lower_changes()):
        raise Broken("the oracle changed a lower")
    walk_outside = [case.actor(), "--walk", oracle.outside, oracle.mount]
    o_outside = run_command(walk_outside)[0].splitlines()
    oracle.leave()

    subject = Side(top, "s", case, case.markers if case.opt.subject == "fuss" else "dev")
    subject.reset_outside(case)
    out, err, status = case.subject(subject, case.actor_argv(
        subject.mount, case.opt.subject in ("kernel", "fuse")))
    s_trace, s_tree = split_tree(out)
    stopped = bool(o_trace) and o_trace[-1] == "== stopped"
    if case.opt.subject == "redirect":
        # Moves by redirect copy nothing up: links and inode numbers stay as they were.
        o_trace, s_trace, o_tree, s_tree = map(without_links, (o_trace, s_trace, o_tree, s_tree))
    if stopped:
        # The emulation gave up in the middle of an operation: compare what came before.
        o_trace = o_trace[:-2]
        s_trace = s_trace[:len(o_trace)]
    changed = list(subject.lower_changes())
    if changed:
        return Result("lower changed", "\n".join(changed[:5]))
    i = first_difference(o_trace, s_trace, differences, style)
    if i is not None:
        text = describe("kernel", o_trace, "ours", s_trace, i)
        if i >= len(s_trace):
            text += "\n   ended: status %s, stderr: %s" % (status, err.strip()[-600:])
        line = o_trace[i] if i < len(o_trace) else s_trace[i]
        return Result("trace: " + (line.split(" ") + ["?"])[1], text, op_number(line))
    result = Result()
    result.stopped = stopped
    if stopped:
        return result
    if status != 0:
        return Result("exit status", "status %s, stderr: %s" % (status, err.strip()[-600:]))
    i = first_difference(o_tree, s_tree, differences, style)
    if i is not None:
        return Result("tree", describe("kernel", o_tree, "ours", s_tree, i, 1))
    if quick:
        return result
    s_outside = run_command(walk_outside)[0].splitlines()
    i = first_difference(o_outside, s_outside, differences, style)
    if i is not None:
        return Result("outside", describe("kernel", o_outside, "ours", s_outside, i, 1))
    return check_readers(case, oracle, subject, differences, s_tree) or result


def check_readers(case, oracle, subject, differences, s_tree):
    """What other readers, and a later session, make of the subject's upper."""
    if case.opt.subject in ("copy", "redirect") or case.mode == "ro":
        return None
    walk = [case.actor(), "--walk", subject.mount]
    subject.reset_outside(case)
    subject.leave()
    oracle.enter()
    out, err, status = case.kernel_mount(oracle, walk, False)
    fuse_want = fuse_view(case, oracle) if fuse_usable() else (None, 0)
    oracle.leave()
    subject.enter()
    if status != 0:
        raise Broken("the oracle's upper cannot be mounted again: %s" % err)
    expected = out.splitlines()
    style = case.style
    if case.opt.subject == "fuss":
        out, err, status = case.fuss(subject, walk)
        i = first_difference(s_tree, out.splitlines(), differences, style)
        if i is not None:
            return Result("second session", describe("first", s_tree, "second", out.splitlines(), i,
                                                     1) + err[-300:])
    if style == "chardev" and case.opt.subject != "fuse":
        out, err, status = case.kernel_mount(subject, walk, False)
        if status != 0:
            return Result("kernel mount of our upper", "status %s: %s" % (status, err))
        shown = drop_xattrs(out.splitlines(), differences)
        i = first_difference(expected, shown, differences, style)
        if i is not None:
            return Result("kernel over our upper", describe("kernel", expected, "ours", shown, i, 1))
    if fuse_usable():
        # Its own trouble with some layers (self-referring links, fifos) is not ours: what it makes
        # of the kernel's upper is the yardstick.
        want, status = fuse_want
        if status != 0 or any(" errno" in line or line.endswith(" EIO") for line in want):
            raise_count(case, "fuse-overlayfs cannot read even the kernel's upper")
            return None
        shown, status = fuse_view(case, subject)
        if status != 0:
            return Result("fuse-overlayfs over our upper", "status %s" % status)
        i = first_difference(want, shown, differences, style)
        if i is not None:
            return Result("fuse-overlayfs over our upper", describe("kernel", want, "ours", shown,
                                                                    i, 1))
        i = first_difference(other_readers_view(expected), want, differences, style)
        if i is not None:
            raise_count(case, "fuse-overlayfs misreads even the kernel's upper")
    return None


def fuse_view(case, side):
    """What fuse-overlayfs shows of a side's layers: (lines, status)."""
    elsewhere = os.path.join(side.top, "F")
    os.makedirs(elsewhere, exist_ok=True)
    out, _, status = case.fuse_mount(side, [case.actor(), "--walk", elsewhere], elsewhere)
    return other_readers_view(out.replace(side.mount, "@").splitlines()), status


def raise_count(case, what):
    case.opt.counts[what] = case.opt.counts.get(what, 0) + 1


def drop_xattrs(lines, differences):
    if not differences.ignored_xattrs:
        return lines
    names = "|".join(re.escape(x) for x in differences.ignored_xattrs)
    out = []
    for line in lines:
        line = re.sub(r"(?:%s)=[0-9a-f]+ ?" % names, "", line)
        out.append(re.sub(r" \}$| \}(?= data=)", "}", line))
    return out


def fuse_usable():
    return os.getuid() == 0 and shutil.which("fuse-overlayfs") and os.path.exists("/dev/fuse")


def shrink(case, differences, first, budget):
    """Fewest operations that still give a difference of the same kind."""
    end = time.monotonic() + budget
    quick = first.kind.startswith(("trace", "tree", "lower", "exit"))
    last = first.op or case.ops
    ops = [i for i in (case.only or range(1, case.ops + 1)) if i <= last]

    def fails(subset):
        trial = Case(case.opt, case.seed, case.user, case.style, case.link, case.procs,
                     case.mode)
        trial.ops, trial.only = case.ops, subset
        try:
            result = check(trial, differences, quick)
        except Broken:
            return None
        return result if result.kind == first.kind else None

    best, pieces = first, 2
    while len(ops) > 1 and time.monotonic() < end:
        size = max(1, len(ops) // pieces)
        for at in range(0, len(ops), size):
            rest = ops[:at] + ops[at + size:]
            if time.monotonic() > end:
                break
            got = fails(rest) if rest else None
            if got:
                ops, best = rest, got
                pieces = max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(pieces * 2, len(ops))
    case.only = ops
    return best


def cases(opt):
    """Endless (or bounded) sequence of cases; what was not asked for takes turns."""
    users = [opt.user] if opt.user else (["root", "user", "drop"] if os.getuid() == 0 else ["user"])
    styles = [opt.style] if opt.style else ["chardev", "fileprefix"]
    links = [opt.link] if opt.link else ["dynamic", "static", "musl"]
    procs = [opt.procs] if opt.procs else [1, 1, 2]
    modes = [opt.mode] if opt.mode else ["rw", "rw", "ro", "rw", "over", "rw", "rw"]
    for i in range(opt.seeds):
        seed = opt.seed + i
        yield Case(opt, seed, users[seed % len(users)], styles[seed // 3 % len(styles)],
                   links[seed // 2 % len(links)], procs[seed // 5 % len(procs)],
                   modes[seed % len(modes)])


def parse(argv):
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--seed", type=int, default=None, help="first seed (default: from the clock)")
    p.add_argument("--seeds", type=int, default=None, help="how many seeds (1 when --seed is given)")
    p.add_argument("--ops", type=int, default=500)
    p.add_argument("--time", type=float, default=60, help="stop starting new seeds after so long")
    p.add_argument("--backend", default="ptrace")
    p.add_argument("--style", choices=("chardev", "fileprefix"))
    p.add_argument("--user", choices=("root", "user", "drop"),
                   help="drop: a session of root whose program becomes an ordinary user")
    p.add_argument("--link", choices=("dynamic", "static", "musl"))
    p.add_argument("--procs", type=int, choices=(1, 2))
    p.add_argument("--mode", choices=("rw", "ro", "over"),
                   help="ro: no upper; over: the mountpoint is the topmost lower")
    p.add_argument("--subject", choices=("fuss", "kernel", "redirect", "fuse", "copy"), default="fuss")
    p.add_argument("--only", help="comma separated operation numbers")
    p.add_argument("--shrink", type=float, nargs="?", const=60, default=0, metavar="SECONDS")
    p.add_argument("--fail-fast", action="store_true")
    p.add_argument("--keep", action="store_true", help="keep the layers")
    p.add_argument("--verbose", action="store_true")
    p.add_argument("--fuss", default=os.path.join(ROOT, "build", "fuss"))
    p.add_argument("--build", default=os.path.join(ROOT, "build", "fuzz"), help="where actors are")
    opt = p.parse_args(argv)
    opt.fuss, opt.build = os.path.abspath(opt.fuss), os.path.abspath(opt.build)
    if opt.seeds is None:
        opt.seeds = 1 if opt.seed is not None else 1_000_000
    if opt.seed is None:
        opt.seed = int(time.time()) % 1_000_000
    return opt


def stop(signum, _frame):
    for p in list(running):
        kill_group(p)
    raise SystemExit(128 + signum)


def main(argv):
    opt = parse(argv)
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, stop)
    opt.counts = {}
    differences = Differences(os.path.join(HERE, "differences.json"))
    if opt.subject == "fuss" and not os.access(opt.fuss, os.X_OK):
        sys.exit("fuzz: %s is missing; run make first" % opt.fuss)
    began = time.monotonic()
    passed, stopped, kinds = 0, 0, {}
    for case in cases(opt):
        if time.monotonic() - began > opt.time:
            break
        if opt.only:
            case.only = [int(x) for x in opt.only.strip(",").split(",")]
        result = check(case, differences)
        if result.kind is None:
            passed += 1
            stopped += result.stopped
            if opt.verbose:
                print("ok    %s%s" % (case.command(), " (stopped)" if result.stopped else ""))
            continue
        if opt.shrink:
            result = shrink(case, differences, result, opt.shrink)
        kinds.setdefault(result.kind, []).append(case.seed)
        print("FAIL  %s\n  %s\n%s" % (result.kind, case.command(), result.text), flush=True)
        if opt.fail_fast:
            break
    failed = sum(map(len, kinds.values()))
    for kind, seeds in sorted(kinds.items(), key=lambda k: -len(k[1])):
        print("%5d  %s (seeds %s)" % (len(seeds), kind, " ".join(map(str, seeds[:8]))))
    for name, count in sorted(differences.used.items()):
        print("listed difference met: %s, %d times" % (name, count))
    for what, count in sorted(opt.counts.items()):
        print("note: %s: %d times" % (what, count))
    if stopped:
        print("%d of the passed runs were compared only up to a point" % stopped)
    print("fuzz: %d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Broken as e:
        sys.exit("fuzz: %s" % e)
