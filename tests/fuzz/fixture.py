"""Random layers for the fuzzer: two or three lowers and perhaps an upper, from a seed."""

import errno
import os
import random
import stat
import struct

NAMES = "abcdef"
OVERLAY = {True: "user.overlay.", False: "trusted.overlay."}


def _path(rng):
    depth = rng.choice((1, 1, 1, 2, 2, 2, 2, 3, 3, 4))
    parts = [rng.choice("abc" if rng.random() < 0.8 else NAMES) for _ in range(depth - 1)]
    return "/".join(parts + [rng.choice(NAMES)])


def _parents(path):
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def _acl(*entries):
    """A POSIX ACL as the xattr holds it: (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


NOBODY = 0xFFFFFFFF
DEFAULT_ACL = _acl((1, 7, NOBODY), (2, 7, 1000), (4, 5, NOBODY), (16, 7, NOBODY), (32, 0, NOBODY))


class Layer:
    """One layer being built on disk, with what is known to be in it."""

    def __init__(self, root, rng, user, style, below, mount):
        self.root, self.rng, self.user, self.style = root, rng, user, style
        self.below = below  # visible tree of the layers underneath: path -> type letter
        self.mount = mount
        self.have = {"": "d"}
        self.opaque = set()
        self.times = []

    def real(self, path):
        return os.path.join(self.root, path) if path else self.root

    def visible_below(self, path):
        """Type of path in the layers underneath, unless this layer cuts them off above it."""
        for parent in [""] + _parents(path):
            if parent in self.opaque or self.have.get(parent, "d") != "d":
                return None
        return self.below.get(path)

    def ensure_parents(self, path):
        for parent in _parents(path):
            kind = self.have.get(parent)
            if kind is None:
                self.make_dir(parent)
            elif kind != "d":
                return False
        return True

    def make_dir(self, path):
        rng = self.rng
        modes = (0o755, 0o755, 0o755, 0o775, 0o700, 0o2775, 0o1777, 0o555, 0o711)
        os.mkdir(self.real(path), 0o755)
        self.have[path] = "d"
        if rng.random() < 0.12:
            self.opaque.add(path)
            if self.style == "wh":
                open(os.path.join(self.real(path), ".wh..wh..opq"), "w").close()
            else:
                os.setxattr(self.real(path), OVERLAY[self.user] + "opaque", b"y")
        mode = rng.choice(modes)
        owner = self.owner()
        self.xattrs(path)
        if rng.random() < 0.05:
            os.setxattr(self.real(path), "system.posix_acl_default", DEFAULT_ACL)
        self.times.append((path, mode, owner, self.time()))

    def owner(self):
        return self.rng.choice(((0, 0), (0, 0), (1000, 1000), (1000, 0), (1, 1)))

    def time(self):
        return self.rng.randrange(1000, 500_000_000) * 1_000_000_000 + self.rng.randrange(10**9)

    def xattrs(self, path):
        if self.rng.random() < 0.25:
            os.setxattr(self.real(path), "user.a", b"layer%d" % self.rng.randrange(9))
        if self.rng.random() < 0.1:
            os.setxattr(self.real(path), "user.b", b"x" * self.rng.randrange(200))

    def make_file(self, path):
        rng = self.rng
        with open(self.real(path), "wb") as f:
            if rng.random() < 0.08:
                f.truncate(300_000)
                f.seek(rng.choice((0, 65536, 131072)))
            f.write(bytes([65 + rng.randrange(26)]) * rng.choice((0, 5, 100, 1500, 5000)))
        self.xattrs(path)
        mode = rng.choice((0o644, 0o644, 0o600, 0o755, 0o4755, 0o2755, 0o444, 0o666))
        self.have[path] = "f"
        self.times.append((path, mode, self.owner(), self.time()))

    def make_symlink(self, path):
        rng = self.rng
        target = rng.choice(
            (
                _path(rng),
                _path(rng),
                "../" + _path(rng),
                self.mount + "/" + _path(rng),
                "dangling",
                ".",
                rng.choice(NAMES),
            )
        )
        os.symlink(target, self.real(path))
        self.have[path] = "l"
        self.times.append((path, None, self.owner(), self.time()))

    def make_fifo(self, path):
        os.mkfifo(self.real(path))
        self.have[path] = "p"
        self.times.append((path, 0o644, self.owner(), self.time()))

    def make_link(self, path):
        files = [p for p, k in self.have.items() if k in "fl"]
        if not files:
            return self.make_file(path)
        source = self.rng.choice(sorted(files))
        os.link(self.real(source), self.real(path), follow_symlinks=False)
        self.have[path] = self.have[source]
        return None

    def make_whiteout(self, path):
        parent, _, name = path.rpartition("/")
        coin = self.rng.random() < 0.5  # drawn in every style: the layers must stay the same
        if self.style == "wh":
            open(os.path.join(self.real(parent), ".wh." + name), "w").close()
        elif self.style == "xattr" and parent not in self.opaque and coin:
            # The form for places without device nodes: the directory says that it has such.
            open(self.real(path), "w").close()
            os.setxattr(self.real(path), OVERLAY[self.user] + "whiteout", b"y")
            os.setxattr(self.real(parent), OVERLAY[self.user] + "opaque", b"x")
        else:
            os.mknod(self.real(path), stat.S_IFCHR, os.makedev(0, 0))
        self.have[path] = "w"

    def add(self):
        rng = self.rng
        path = _path(rng)
        if path in self.have or not self.ensure_parents(path):
            return
        roll = rng.random()
        if self.visible_below(path) and roll < 0.25:
            self.make_whiteout(path)
            return
        roll = rng.random()
        if roll < 0.45:
            self.make_dir(path)
        elif roll < 0.75:
            self.make_file(path)
        elif roll < 0.88:
            self.make_symlink(path)
        elif roll < 0.92:
            self.make_fifo(path)
        else:
            self.make_link(path)

    def finish(self):
        """Owners, modes and times last: each change above would have moved them."""
        os.chmod(self.root, 0o755)
        self.times.append(("", None, (0, 0), self.time()))
        for path, mode, (uid, gid), when in sorted(self.times, key=lambda t: -len(t[0])):
            real = self.real(path)
            if not self.user:
                os.chown(real, uid, gid, follow_symlinks=False)
            if mode is not None:
                os.chmod(real, mode)
            os.utime(real, ns=(when, when), follow_symlinks=False)

    def merged(self):
        """What shows when this layer lies on the ones below."""
        out = {}
        for path in sorted(set(self.below) | set(self.have)):
            kind = self.have.get(path)
            if kind is None:
                kind = self.visible_below(path)
            if kind in (None, "w"):
                continue
            if all(out.get(p) == "d" for p in _parents(path)):
                out[path] = kind
        return out


def build(base, seed, user, style, mount, least=1):
    """At least so many layers under base: returns (lowers leftmost first, upper). style of the markers: 'dev', 'xattr' (some of the lowers'
    whiteouts are files with an xattr) or 'wh' (OCI)."""
    rng = random.Random(seed)
    count = max(least, rng.choice((1, 2, 2, 3)))
    view, lowers = {"": "d"}, []
    os.umask(0o022)
    for i in reversed(range(count)):
        root = os.path.join(base, "l%d" % (i + 1))
        os.mkdir(root)
        layer = Layer(root, rng, user, style, view, mount)
        for _ in range(rng.randrange(25, 80)):
            layer.add()
        layer.finish()
        view = layer.merged()
        lowers.insert(0, root)
    upper = os.path.join(base, "u")
    os.mkdir(upper)
    os.mkdir(os.path.join(base, "w"))
    layer = Layer(upper, rng, user, "dev" if style == "xattr" else style, view, mount)
    if rng.random() < 0.4:
        for _ in range(rng.randrange(3, 14)):
            layer.add()
    layer.finish()
    return lowers, upper


def fingerprint(root, fifo_times_may_change=False):
    """Everything about a tree that must not change, as {path: facts}."""
    facts = {}

    def one(path):
        st = os.lstat(path)
        data = None
        if stat.S_ISREG(st.st_mode):
            with open(path, "rb") as f:
                data = hash(f.read())
        elif stat.S_ISLNK(st.st_mode):
            data = os.readlink(path)
        xattrs = {}
        try:
            for name in os.listxattr(path, follow_symlinks=False):
                xattrs[name] = os.getxattr(path, name, follow_symlinks=False)
        except OSError as e:
            if e.errno not in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP):
                raise
        facts[os.path.relpath(path, root)] = (
            st.st_mode, st.st_uid, st.st_gid, st.st_size if not stat.S_ISDIR(st.st_mode) else 0,
            0 if fifo_times_may_change and stat.S_ISFIFO(st.st_mode) else st.st_mtime_ns, st.st_ino, st.st_nlink, st.st_rdev, data, tuple(sorted(xattrs.items())),
        )
        if stat.S_ISDIR(st.st_mode):
            for name in os.listdir(path):
                one(os.path.join(path, name))

    one(root)
    return facts
