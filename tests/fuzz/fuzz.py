#!/usr/bin/env python3
"""Differential fuzzer: the same random operations on kernel overlayfs and under fuss.

For every seed: build the layers twice, run the actor on a real overlay mount (the oracle) and
under the subject at the same path, compare the traces and the final trees; then let the kernel
and fuse-overlayfs mount the subject's upper and compare what they show; check that no lower
changed. The mounts live in mount namespaces of their own and end with the process."""

import argparse
import atexit
import os
import shutil
import signal
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from compare import Differences, check  # noqa: E402
from layers import Broken, Case, kill_group, running  # noqa: E402


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
        trial.quick = first.kind.startswith(("trace", "tree", "exit"))
        try:
            result = check(trial, differences, quick)
        except Broken:
            return None
        return result if result.kind == first.kind else None

    best, size = first, len(ops) // 2
    while size and time.monotonic() < end:
        at = 0
        while at < len(ops) and len(ops) > 1 and time.monotonic() < end:
            rest = ops[:at] + ops[at + size:]
            got = fails(rest) if rest else None
            if got:
                ops, best = rest, got
            else:
                at += size
        size //= 2
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
    p.add_argument("--debug", action="store_true", help="trace the lookups that choose paths too")
    p.add_argument("--also", action="append", default=[], metavar="FILE",
                   help="another list to allow, to look past failures that are known")
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


def private_copy(program):
    """A copy that a build going on beside us cannot replace, removed at exit."""
    top = tempfile.mkdtemp(prefix="fuss-fuzz-bin.")
    atexit.register(shutil.rmtree, top, True)
    os.chmod(top, 0o755)
    return shutil.copy(program, os.path.join(top, "fuss"))


def stop(signum, _frame):
    for p in list(running):
        kill_group(p)
    raise SystemExit(128 + signum)


def main(argv):
    opt = parse(argv)
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, stop)
    opt.counts = {}
    differences = Differences(os.path.join(HERE, "differences.json"), *opt.also)
    if opt.subject == "fuss" and not os.access(opt.fuss, os.X_OK):
        sys.exit("fuzz: %s is missing; run make first" % opt.fuss)
    if opt.subject == "fuss":
        opt.fuss = private_copy(opt.fuss)
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
