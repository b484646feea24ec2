"""Runs one case on both sides and compares everything that can be seen."""

import json
import os
import re
import shutil
import tempfile

from layers import Broken, Side, run_command


class Differences:
    """The list of differences on purpose."""

    def __init__(self, *paths):
        self.entries = []
        for path in paths:
            with open(path) as f:
                self.entries += json.load(f)["differences"]
        self.lines = [(e["match"], e["id"]) for e in self.entries if "match" in e]
        self.ignored_xattrs = [x for e in self.entries for x in e.get("ignored_xattrs", [])]
        self.strips = [e["strip"] for e in self.entries if "strip" in e]
        self.used = {}

    def allows(self, kernel, ours, style):
        for pattern in self.strips:
            kernel, ours = re.sub(pattern, "", kernel), re.sub(pattern, "", ours)
        if kernel == ours:
            return True
        for match, name in self.lines:
            if match.get("style", style) != style:
                continue
            a, b = re.fullmatch(match["kernel"], kernel), re.fullmatch(match["ours"], ours)
            if a and b and a.groups() == b.groups():
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


def without_groups(lines):
    return [re.sub(r" same-as=\S+", "", x) for x in lines or []]


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
    for path, dirs, _ in os.walk(top):
        for name in dirs:
            full = os.path.join(path, name)
            if not os.path.islink(full):
                os.chmod(full, 0o700)
    shutil.rmtree(top, ignore_errors=True)


def split_tree(text):
    lines = text.splitlines()
    try:
        cut = lines.index("== tree")
    except ValueError:
        return lines, None
    return lines[:cut], lines[cut + 1:]


def check_in(top, case, differences, quick):
    style = case.style
    oracle = Side(top, "o", case, case.native)
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

    subject = Side(top, "s", case, case.markers if case.opt.subject == "fuss" else case.native)
    subject.reset_outside(case)
    out, err, status = case.subject(subject, case.actor_argv(
        subject.mount, case.opt.subject in ("kernel", "fuse")))
    s_trace, s_tree = split_tree(out)
    stopped = bool(o_trace) and o_trace[-1] == "== stopped"
    if case.user == "user":
        # A mounter without file handles lets two names of one copy show two inode numbers.
        o_tree, s_tree = map(without_groups, (o_tree, s_tree))
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
    fuse_want = fuse_view(case, oracle) if fuse_usable(case) else (None, 0)
    oracle.leave()
    subject.enter()
    if status != 0:
        raise Broken("the oracle's upper cannot be mounted again: %s" % err)
    expected = out.splitlines()
    style = case.style
    if case.opt.subject == "fuss":
        out, err, status = case.fuss(subject, walk)
        second = out.splitlines()
        if case.user == "user":
            second = without_groups(second)
        if case.user == "user" and os.stat(subject.upper).st_mode & 0o700 != 0o700:
            raise_count(case, "the upper's root lost u+rwx: other readers not compared")
            return None
        i = first_difference(s_tree, second, differences, style)
        if i is not None:
            return Result("second session", describe("first", s_tree, "second", second, i,
                                                     1) + err[-300:])
    if style == "chardev" and case.opt.subject != "fuse":
        out, err, status = case.kernel_mount(subject, walk, False)
        if status != 0:
            return Result("kernel mount of our upper", "status %s: %s" % (status, err))
        shown = drop_xattrs(out.splitlines(), differences)
        i = first_difference(expected, shown, differences, style)
        if i is not None:
            return Result("kernel over our upper", describe("kernel", expected, "ours", shown, i, 1))
    if fuse_usable(case):
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


def fuse_usable(case):
    return case.native == "dev" and os.getuid() == 0 and shutil.which("fuse-overlayfs") and os.path.exists("/dev/fuse")
