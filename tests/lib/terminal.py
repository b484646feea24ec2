"""Drives a command on a pseudo terminal: terminal.py STEPS COMMAND ARG...

STEPS is a file of lines: "send TEXT" (and Enter), "key X" (Ctrl-X), "expect REGEX" (within 15 s, in
what came since the last match), "resize ROWS COLS", "sleep SECONDS", "status N" (the command ends
with this exit status). Prints the whole dialogue; exits 1 at the first step that fails.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time


class Failed(Exception):
    pass


def main():
    with open(sys.argv[1]) as steps_file:
        steps = [line.rstrip("\n") for line in steps_file if line.strip()]
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(sys.argv[2], sys.argv[2:])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    seen = ""
    said = ""
    status = None

    def read(timeout):
        nonlocal seen, said
        ready, _, _ = select.select([fd], [], [], timeout)
        if not ready:
            return True
        try:
            data = os.read(fd, 65536)
        except OSError:
            return False
        text = data.decode(errors="replace")
        seen += text
        said += text
        return bool(data)

    try:
        for step in steps:
            word, _, rest = step.partition(" ")
            if word == "send":
                os.write(fd, rest.encode() + b"\n")
            elif word == "key":
                os.write(fd, bytes([ord(rest.upper()) & 31]))
            elif word == "sleep":
                end = time.monotonic() + float(rest)
                while time.monotonic() < end:
                    if not read(end - time.monotonic()):
                        break
            elif word == "resize":
                rows, cols = map(int, rest.split())
                fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
            elif word == "expect":
                end = time.monotonic() + 15
                while not (match := re.search(rest, seen)):
                    if time.monotonic() > end:
                        raise Failed(f"did not come: {rest}")
                    if not read(0.2) and not re.search(rest, seen):
                        raise Failed(f"ended before: {rest}")
                seen = seen[match.end():]
            elif word == "status":
                end = time.monotonic() + 15
                while status is None:
                    read(0.1)
                    done, raw = os.waitpid(pid, os.WNOHANG)
                    if done:
                        status = os.waitstatus_to_exitcode(raw)
                    elif time.monotonic() > end:
                        raise Failed("does not end")
                if status != int(rest):
                    raise Failed(f"status {status}, not {rest}")
            else:
                raise Failed(f"unknown step: {step}")
    except Failed as failure:
        print(said)
        print("FAIL:", failure)
        return 1
    finally:
        if status is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    print(said)
    return 0


sys.exit(main())
