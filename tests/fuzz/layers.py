"""One case of the fuzzer: its layers on disk, and the ways to run a command over them."""

import json
import os
import shutil
import signal
import subprocess
import sys

import fixture

OUTSIDE = "out/1/2/3/4/5/6"
FUZZ_UID = 1000
TIMEOUT = 60
running = set()


class Broken(Exception):
    """The fuzzer itself could not do its work."""


def run_command(argv, user=None, timeout=TIMEOUT):
    """Runs argv in a session of its own; returns (stdout, stderr, status)."""
    # No configuration of whoever runs this may play a part.
    kw = {"env": {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
                  "HOME": "/nonexistent", "LC_ALL": "C"}}
    if user is not None and os.getuid() == 0:
        kw.update(user=user, group=user, extra_groups=[])
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
        self.quick = False  # a rerun while shrinking: the lowers' state is not looked at
        self.ops = opt.ops
        # Half of the seeds of the file-prefix style find such markers in their layers too.
        # A few find whiteouts as xattrs, which fuse-overlayfs does not know.
        self.native = "xattr" if mode == "ro" and seed % 2 else "dev"
        self.markers = "wh" if style == "fileprefix" and seed % 2 else self.native
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
        if self.opt.debug:
            argv.append("--debug")
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
        script = ('fuse-overlayfs -f -o "$1" "$2" >/dev/null 2>&1 & d=$!; i=0; '
                  'until mountpoint -q "$2"; do i=$((i+1)); '
                  '[ $i -lt 200 ] || { kill -9 $d; exit 97; }; sleep 0.01; done; '
                  'm=$2; shift 2; "$@"; s=$?; umount "$m" || kill -9 $d; wait; exit $s')
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
        self.before = {}
        if not case.quick:
            self.before = self.fingerprints()

    def leave(self):
        os.rename(self.base, self.aside)

    def enter(self):
        os.rename(self.aside, self.base)

    def mount_options(self):
        options = "lowerdir=" + ":".join(self.lowers)
        if self.upper:
            options += ",upperdir=%s,workdir=%s/w" % (self.upper, self.base)
        return options

    def fingerprints(self):
        return {l: fixture.fingerprint(l, self.upper is None) for l in self.lowers}

    def lower_changes(self):
        after = self.fingerprints() if self.before else {}
        for layer in self.before:
            now, before = after[layer], self.before[layer]
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
