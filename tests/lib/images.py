#!/usr/bin/env python3
"""images.py KIND DIR [CONFIG]: makes an OCI layout, good or hostile, as KIND says."""
import gzip
import hashlib
import io
import json
import os
import random
import sys
import tarfile

OCI = "application/vnd.oci.image."


def entry(name, kind=tarfile.REGTYPE, data=b"", **more):
    t = tarfile.TarInfo(name)
    t.type, t.size, t.mtime, t.mode = kind, len(data), 981173106, 0o644
    for key, value in more.items():
        setattr(t, key, value)
    return t, data


def tar(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    def __init__(self, path):
        self.path = path
        os.makedirs(path + "/blobs/sha256")
        self.write("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')

    def write(self, name, data):
        with open(self.path + "/" + name, "wb") as f:
            f.write(data)

    def blob(self, data, kind):
        self.write("blobs/sha256/" + digest(data)[7:], data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    def manifest(self, layers, kind=OCI + "layer.v1.tar+gzip", pack=gzip.compress, platform=None,
                 run=None):
        config = {"architecture": "amd64", "os": "linux", "config": run or {"Env": ["A=b"]},
                  "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in layers]}}
        m = {"schemaVersion": 2,
             "config": self.blob(json.dumps(config).encode(), OCI + "config.v1+json"),
             "layers": [self.blob(pack(x), kind) for x in layers]}
        d = self.blob(json.dumps(m).encode(), OCI + "manifest.v1+json")
        d["annotations"] = {"org.opencontainers.image.ref.name": "t"}
        if platform:
            d["platform"] = platform
        return d

    def index(self, *manifests):
        self.write("index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())


def devices():
    return [entry("d%d" % n, tarfile.CHRTYPE, devmajor=1, devminor=3) for n in range(5000)]


def many():
    """A thousand empty files; a thousand times, and once more, they are too many."""
    return b"".join(entry("%07d" % n)[0].tobuf(tarfile.USTAR_FORMAT) for n in range(1000))


def pax(name, kind=tarfile.REGTYPE, data=b"", mode=0o644, **records):
    """An entry with SCHILY's records, whose dots are said as underscores twice."""
    return entry(name, kind, data, mode=mode,
                 pax_headers={"SCHILY." + k.replace("__", "."): v for k, v in records.items()})


LINK, HARD, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
HOSTILE = {
    "dotdot": [entry("../escaped", data=b"x")],
    "inner-dotdot": [entry("a/../../escaped", data=b"x")],
    "absolute": [entry("/escaped", data=b"x")],
    "symlink": [entry("out", LINK, linkname="../../../.."), entry("out/escaped", data=b"x")],
    "symlink-absolute": [entry("out", LINK, linkname="/"), entry("out/tmp/escaped", data=b"x")],
    "symlink-parent": [entry("a", FOLDER), entry("a/l", LINK, linkname="b"),
                       entry("a/l/c/d", data=b"x")],
    "hardlink": [entry("h", HARD, linkname="../../../secret")],
    "hardlink-absolute": [entry("h", HARD, linkname="/etc/passwd")],
    "hardlink-symlink": [entry("l", LINK, linkname="../../.."),
                         entry("h", HARD, linkname="l/secret")],
    "whiteout-dotdot": [entry(".wh...")],
    "whiteout-dot": [entry(".wh..")],
    "below-whiteout": [entry(".wh.a/b", data=b"x")],
    "disguise": [entry("w", tarfile.CHRTYPE, devmajor=0, devminor=0)],
    "swapped": [entry("d", FOLDER), entry("d/x"), entry("d", LINK, linkname="../../.."),
                entry("d/escaped", data=b"x")],
    "through-file": [entry("f", data=b"x"), entry("f/escaped", data=b"x")],
    "hardlink-folder": [entry("d", FOLDER), entry("h", HARD, linkname="d")],
    "hardlink-marker": [entry(".wh.gone"), entry("h", HARD, linkname=".wh.gone")],
    "hardlink-loop": [entry("h", HARD, linkname="./h")],
    "hardlink-swapped": [entry("d", FOLDER), entry("d/secret"), entry("d", LINK, linkname="../../.."),
                         entry("h", HARD, linkname="d/secret")],
    "root-link": [entry("./", LINK, linkname="/")],
    "no-name": [entry("")],
    "long-part": [entry("n" * 300)],
    "attribute": [pax("a", xattr__user__x="x" * 70000)],
    "long-attribute": [entry("a", pax_headers={"SCHILY.xattr.user." + "x" * 300: "y"})],
    "owner": [entry("a", uid=2 ** 32)],
    "deep": [entry("/".join(["d"] * 1500), data=b"x")],
}


ATTRIBUTES = [
    pax("d", FOLDER, acl__default="user::rwx,user:56:r-x,group::r-x,mask::rwx,other::---"),
    pax("d/plain", data=b"x", xattr__user__overlay__opaque="y",
        xattr__trusted__overlay__redirect="/etc", xattr__user__containers__override_stat="0:0:0777"),
    pax("f", data=b"x", mode=0o674, xattr__user__hello="w\u00f6rld",
        acl__access="user::rw-,user:ana:rwx:55,user:3:r--,group::r--,mask::rwx,other::r--"),
    pax("named", data=b"x", acl__access="user::rw-,user:ana:rwx,group::r--,mask::rwx,other::---"),
]


def good(n=0):
    base = [entry("./", FOLDER, mode=0o755), entry("etc/", FOLDER, mode=0o555),
            entry("etc/f", data=b"one", mode=0o640, uid=7, gid=8),
            entry("etc/nfd-e\u0301", data=b"name"), entry("etc/h", HARD, linkname="etc/f"),
            entry("l", LINK, linkname="/etc/f"), entry("gone", data=b"x"),
            entry("dir", FOLDER, mode=0o755), entry("dir/old", data=b"x"),
            entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
            entry("pipe", tarfile.FIFOTYPE)]
    top = [entry(".wh.gone"), entry("dir", FOLDER, mode=0o755), entry("dir/.wh..wh..opq"),
           entry("dir/new", data=b"two")]
    return [tar(base), tar(top)][n:]


def busybox():
    """Two layers with a shell; the upper one is there twice."""
    with open("/bin/busybox", "rb") as f:
        program = f.read()
    base = [entry("bin/busybox", data=program, mode=0o755), entry("root", FOLDER, mode=0o700),
            entry("etc/passwd", data=b"root:x:0:0::/root:/bin/sh\nana:x:7:8::/srv:/bin/sh\n"),
            entry("etc/group", data=b"root:x:0:\nband:x:9:ana\n"),
            entry("srv/gone", data=b"x"), entry("srv/kept", data=b"kept\n")]
    base += [entry("bin/" + x, LINK, linkname="busybox") for x in ("sh", "ls", "cat", "env", "id")]
    top = [entry("srv/.wh.gone"), entry("srv/more", data=b"more\n")]
    return [tar(top), tar(base), tar(top)]


def ten(path, files):
    """Ten layers of `files` names together, with changes between them; the tree they make goes to
    DIR/tree as find(1) says it: type, mode, size, time, name, target."""
    rng = random.Random(files)
    tree, layers = {"": ("d", 0o755, 0, "")}, []
    for n in range(10):
        out = []

        def put(name, kind, mode, data=b"", target=""):
            when = 1000000000 + rng.randrange(10 ** 8)
            kinds = {"d": FOLDER, "f": tarfile.REGTYPE, "l": LINK, "p": tarfile.FIFOTYPE}
            out.append(entry(name, kinds[kind], data, mode=mode, linkname=target, mtime=when))
            tree[name] = (kind, mode, when, len(data) if kind != "l" else len(target), target)

        def forget(name):
            for other in [x for x in tree if x == name or x.startswith(name + "/")]:
                del tree[other]

        put("./", "d", 0o755)
        tree[""] = tree.pop("./")
        # What this layer hides is of the layers below: it comes before what the layer brings.
        old = sorted(x for x in tree if x)
        gone = []
        for name in rng.sample(old, min(len(old), files // 200)):
            if any(name.startswith(g + "/") or g.startswith(name + "/") for g in gone):
                continue
            gone.append(name)
            head, _, last = name.rpartition("/")
            if tree[name][0] == "d" and rng.random() < 0.5:
                forget(name)
                put(name, "d", 0o700)
                out.append(entry(name + "/.wh..wh..opq"))
            else:
                forget(name)
                out.append(entry((head + "/" if head else "") + ".wh." + last))
        fresh = set()
        while len(fresh) < files // 10:
            folders = sorted(x for x, t in tree.items() if t[0] == "d" and x.count("/") < 6 and
                             not any(x == g for g in gone))
            for _ in range(50):
                folder = rng.choice(folders)
                name = (folder + "/" if folder else "") + "%s%d" % (rng.choice("abcdef"),
                                                                    rng.randrange(files))
                if name in tree or name in gone or name in fresh:
                    continue
                fresh.add(name)
                kind = rng.choices("dflp", (20, 70, 9, 1))[0]
                data = b"x" * rng.randrange(40) if kind == "f" else b""
                put(name, kind, rng.choice((0o755, 0o644, 0o4755, 0o600)) if kind != "l" else 0o777,
                    data, rng.choice(("/etc/x", "../a", "b")) if kind == "l" else "")
        # Files of below again, with other data.
        for name in rng.sample(old, min(len(old), files // 100)):
            if name in tree and tree[name][0] == "f" and name not in fresh:
                put(name, "f", 0o640, b"changed")
        # As real layers do, each names the directories that lead to what it has.
        named = {t.name for t, _ in out}
        ways = {"/".join(t.name.split("/")[:i]) for t, _ in out if t.name != "./"
                for i in range(1, t.name.count("/") + 1)} - named
        layers.append(tar(out[:1] + [entry(w, FOLDER, mode=tree[w][1], mtime=tree[w][2])
                                     for w in sorted(ways)] + out[1:]))
    with open(path + "/tree", "w", encoding="utf8") as f:
        for name, (kind, mode, when, size, target) in sorted(tree.items()):
            size = "-" if kind == "d" else size
            f.write("%s %o %s %s %s %s\n" % (kind, mode, size, when, name, target))
    return layers


def docker(path, layers):
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/ls", "/srv"]},
                         "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in layers]}})
    names = ["%d/layer.tar" % n for n in range(len(layers))]
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["t:1"], "Layers": names}])
    files = [entry(n, data=x) for n, x in zip(names, layers)]
    files += [entry("c.json", data=config.encode()), entry("manifest.json", data=manifest.encode())]
    with open(path + "/docker.tar", "wb") as f:
        f.write(tar(files))


def main():
    kind, path = sys.argv[1:3]
    if kind == "hostile":
        for name, entries in HOSTILE.items():
            layout = Layout(path + "/" + name)
            layout.index(layout.manifest([tar(entries)]))
        return
    layout = Layout(path)
    if kind == "good":
        layout.index(layout.manifest(good()))
    elif kind == "busybox":
        layout.index(layout.manifest(busybox(), pack=lambda x: gzip.compress(x, 1),
                                     run=json.loads(sys.argv[3])))
    elif kind == "attributes":
        layout.index(layout.manifest([tar(ATTRIBUTES)]))
    elif kind == "layers":
        layout.index(layout.manifest([tar([])] * 128))
    elif kind == "loop":
        inner = layout.manifest(good())
        for _ in range(6):
            inner = layout.blob(json.dumps({"manifests": [inner]}).encode(), OCI + "index.v1+json")
        layout.index(inner)
    elif kind == "nested":
        layout.write("index.json", b"[" * 100000)
    elif kind == "large-index":
        layout.write("index.json", b" " * (5 << 20) + b"{}")
    elif kind == "size":
        data = bytearray(tar([entry("a", data=b"x")]))
        info = tarfile.TarInfo("a")
        info.size = 2 ** 62
        layout.index(layout.manifest([info.tobuf(tarfile.GNU_FORMAT) + data[512:]]))
    elif kind == "blob-link":
        layout.index(layout.manifest(good()))
        for name in os.listdir(path + "/blobs/sha256"):
            os.rename(path + "/blobs/sha256/" + name, path + "/" + name)
            os.symlink("../../" + name, path + "/blobs/sha256/" + name)
    elif kind == "ten":
        layout.index(layout.manifest(ten(path, int(sys.argv[3])), pack=lambda x: gzip.compress(x, 1)))
    elif kind == "docker":
        docker(path, busybox())
    elif kind == "plain":
        layout.index(layout.manifest(good(), OCI + "layer.v1.tar", bytes))
    elif kind == "platforms":
        other = layout.manifest([tar([])], platform={"os": "linux", "architecture": "s390x"})
        mine = [layout.manifest(good(), platform={"os": "linux", "architecture": a})
                for a in ("amd64", "arm64")]
        inner = {"schemaVersion": 2, "manifests": [other] + mine}
        layout.index(layout.blob(json.dumps(inner).encode(), OCI + "index.v1+json"))
    elif kind == "devices":
        layout.index(layout.manifest([tar(devices())]))
    elif kind == "many":
        layout.index(layout.manifest([many()], pack=lambda x: gzip.compress(x) * 1001))
    elif kind == "truncated":
        layout.index(layout.manifest(good(), pack=lambda x: gzip.compress(x)[:-20]))
    elif kind == "unknown-kind":
        layout.index(layout.manifest(good(), OCI + "layer.v1.tar+encrypted"))
    elif kind == "wrong-digest":
        layout.index(layout.manifest(good()))
        for name in os.listdir(path + "/blobs/sha256"):
            with open(path + "/blobs/sha256/" + name, "rb+") as f:
                if f.read(2) == b"\x1f\x8b":
                    f.seek(4)
                    f.write(b"\1\2\3\4")
    elif kind == "wrong-diff-id":
        m = layout.manifest([tar([entry("a")])])
        real = json.load(open(path + "/blobs/sha256/" + m["digest"][7:], encoding="utf8"))
        real["layers"] = [layout.blob(gzip.compress(tar([entry("b")])),
                                      OCI + "layer.v1.tar+gzip")]
        layout.index(layout.blob(json.dumps(real).encode(), OCI + "manifest.v1+json"))
    elif kind == "digest-path":
        m = layout.manifest(good())
        m["digest"] = "sha256:../../../" + "a" * 55
        layout.index(m)
    else:
        sys.exit("unknown kind: " + kind)


main()
