#!/usr/bin/env python3
"""tarlist.py FILE: what is in a tar, a line per entry in its order, with all that its headers say."""
import sys
import tarfile

KINDS = {b"0": "f", b"1": "h", b"2": "l", b"3": "c", b"4": "b", b"5": "d", b"6": "p"}

with tarfile.open(sys.argv[1]) as t:
    for m in t:
        words = [KINDS[m.type], m.name, "%o" % m.mode, "%d:%d" % (m.uid, m.gid),
                 m.pax_headers.get("mtime", str(int(m.mtime)))]
        if m.linkname:
            words.append("-> " + m.linkname)
        if m.type in (b"3", b"4"):
            words.append("%d,%d" % (m.devmajor, m.devminor))
        if m.type == b"0":
            words.append("[%s]" % t.extractfile(m).read().decode())
        words += [k[13:] + "=" + v for k, v in sorted(m.pax_headers.items())
                  if k.startswith("SCHILY.xattr.")]
        unknown = {k for k in m.pax_headers if k not in ("mtime", "path", "linkpath", "uid", "gid")
                   and not k.startswith("SCHILY.xattr.")}
        if unknown or m.uname or m.gname:
            words.append("unwanted: %s %s %s" % (unknown, m.uname, m.gname))
        print(" ".join(words))
