#!/usr/bin/env python3
"""Runs a checkout of unionmount-testsuite in fuss: each of its tests in a session over fresh layers.

  unionmount.py CHECKOUT FUSS DIR [--backend NAME] [--style NAME] [TEST]...

The suite makes its own layers and describes what the union must show; only the mount is ours. DIR is made, and
emptied before each test. Prints a line for each test that failed, then the count of those subtests that
passed and of all that were begun; exit status 1 if one failed. A failing subtest ends its test, as in the suite.
"""
import argparse
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys

TIMEOUT = 120


def suite_tests(checkout):
    """The tests the suite runs where a directory of a lower can be renamed, in its order."""
    with open(checkout + "/run") as f:
        names = re.findall(r'^\s+"([a-z0-9-]+)",?\s*$', f.read(), re.M)
    there = [n for n in names if os.path.exists("%s/tests/%s.py" % (checkout, n))]
    return [n for n in dict.fromkeys(there) if n != "rename-exdev"]


def context_of(checkout, base, union, slash):
    """The suite's context over layers below base, made by the suite, and its record of what union must show."""
    os.environ["UNIONMOUNT_BASEDIR"] = base
    os.environ["UNIONMOUNT_MNTPOINT"] = union
    sys.path.insert(0, checkout)
    sys.dont_write_bytecode = True
    cfg = importlib.import_module("settings").config(checkout + "/run")
    cfg.set_testing_overlayfs()
    ctx = importlib.import_module("context").test_context(cfg, slash)
    importlib.import_module("set_up").set_up(ctx)
    return ctx


def make_layers(checkout, top):
    """The layers, by a process of its own: the suite's modules keep what they were told first."""
    shutil.rmtree(top, ignore_errors=True)
    for name in ("base", "scratch", "union", "upper", "work"):
        os.makedirs("%s/%s" % (top, name))
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        context_of(checkout, top + "/base", top + "/union", False)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        sys.exit("unionmount.py: the suite could not make its layers in " + top)
    with open(top + "/upper/f", "w") as f:
        f.write("pure")


def inside(checkout, top, test, slash):
    """One test, in the session: the description is made over a second copy of the layers."""
    ctx = context_of(checkout, top + "/scratch", top + "/union", slash)
    ctx.note_upper_fs(top + "/upper", top + "/union/a", top + "/union/f")
    ctx.note_lower_layers(top + "/base/l")
    ctx.note_upper_layer(top + "/upper")
    script = importlib.import_module("tests." + test)
    found = [f for n, f in inspect.getmembers(script, inspect.isfunction) if n.startswith("subtest_")]
    for f in sorted(found, key=lambda f: inspect.getsourcelines(f)[1]):
        ctx.begin_test(test, inspect.getsourcelines(f)[1], f.__doc__ or f.__name__)
        f(ctx)
        print("PASSED", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("checkout")
    p.add_argument("fuss")
    p.add_argument("dir")
    p.add_argument("tests", nargs="*")
    p.add_argument("--backend", default="hybrid")
    p.add_argument("--style", default="chardev")
    p.add_argument("--slash", type=int, help=argparse.SUPPRESS)
    a = p.parse_args()
    checkout, top = os.path.abspath(a.checkout), os.path.abspath(a.dir)
    if a.slash is not None:
        inside(checkout, top, a.tests[0], a.slash == 1)
        return
    passed = begun = 0
    failed = []
    for test in a.tests or suite_tests(checkout):
        for slash in ("0", "1"):
            make_layers(checkout, top)
            r = subprocess.run(
                [os.path.abspath(a.fuss), "--backend=" + a.backend, "--whiteout=" + a.style,
                 "--mountpoint=%s/union" % top, "--lowerdir=%s/base/l" % top, "--upperdir=%s/upper" % top,
                 "--", sys.executable, os.path.abspath(__file__), checkout, a.fuss, top, test,
                 "--slash", slash],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                timeout=TIMEOUT, check=False)
            out = r.stdout.splitlines()
            passed += sum(line == "PASSED" for line in out)
            begun += sum(line.startswith("TEST ") for line in out)
            if r.returncode != 0:
                failed.append(test)
                print("%s --ts=%s: status %d: %s" % (test, slash, r.returncode, " | ".join(out[-3:])), flush=True)
    shutil.rmtree(top, ignore_errors=True)
    print("%d of %d" % (passed, begun))
    sys.exit(1 if failed or not begun else 0)


main()
