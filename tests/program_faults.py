#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does the program survive system calls that fail? strace makes one call of one run fail, for all calls in turn.

    tests/program_faults.py [--only PATTERN] PROGRAM [OPTION ...]

Runs PROGRAM once as it is, to see what it calls from the moment when main() begins; then once for each of these calls
and each of ERRORS. It has to serve the next client and to end with status 0, or to end by itself with another status
and one line that says why. Never by a signal, and it must not spin. A filter would see what strace makes of a call, so
PROGRAM runs with --no-sandbox, or only the calls up to its filter fail. `make campaign` runs it.
"""
import argparse
import collections
import concurrent.futures
import fnmatch
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

# main() begins with it, so that what the loader does for the program is left out.
BEGIN = re.compile(r'open(at)?\(.*"/dev/null", O_RDONLY\)')
FILTER = re.compile(r"seccomp\(")
FIRST = 12  # calls of a kind: the first ones, and as many at even distances
TIMEOUT_S = 10
CPU_S = 1

# What a call may fail with besides ENOMEM, EPERM and ENOSYS, which a filter or a small machine gives for any.
ERRORS = {
    "accept4": "EAGAIN EINTR ECONNABORTED EMFILE ENFILE ENOBUFS", "bind": "EADDRINUSE EACCES",
    "close": "EINTR EIO", "epoll_wait": "EINTR", "epoll_pwait": "EINTR", "epoll_ctl": "ENOSPC",
    "openat": "EMFILE ENFILE EINTR ENOENT", "open": "EMFILE ENFILE EINTR ENOENT", "read": "EAGAIN EINTR",
    "readv": "EAGAIN EINTR ECONNRESET", "recvfrom": "EAGAIN EINTR ECONNRESET ENOBUFS",
    "sendto": "EAGAIN EINTR ECONNRESET EPIPE ENOBUFS", "sendmsg": "EAGAIN EINTR ECONNRESET EPIPE ENOBUFS",
    "socket": "EMFILE ENFILE ENOBUFS EAFNOSUPPORT", "write": "EAGAIN EINTR EPIPE ENOSPC EIO",
    "getrandom": "EINTR", "signalfd4": "EMFILE ENFILE", "eventfd2": "EMFILE ENFILE",
    "timerfd_create": "EMFILE ENFILE", "epoll_create1": "EMFILE ENFILE", "fcntl": "EMFILE",
}
ANY = "ENOMEM EPERM ENOSYS"
# A program that cannot end, or whose libc stops working, is not what this is about.
# brk() does not say that it fails by an error, so strace cannot make it fail.
LEFT_OUT = {"exit_group", "exit", "rt_sigreturn", "restart_syscall", "execve", "brk", "futex"}

UPGRADE = (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
PING = b"\x81\x85\0\0\0\0hello"
ECHO = b"\x81\x05hello"
OPEN = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PAGE = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"
WANTED = {UPGRADE: b"\r\n\r\n", PING: ECHO, OPEN: b'"sid"', PAGE: b"</html>"}


class Wrong(Exception):
    pass


def talk(port, *requests):
    """Send, and wait for the answer that is WANTED. False when the connection ends before."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client:
            for request in requests:
                client.sendall(request)
                came = b""
                while WANTED[request] not in came:
                    data = client.recv(65536)
                    if not data:
                        return False
                    came += data
    except TimeoutError:
        raise Wrong("a client gets no answer") from None
    except OSError:
        return False
    return True


def use(port):
    """A client of each kind. One fault may hurt one of them; then of the last two one is served."""
    talk(port, UPGRADE, PING)
    talk(port, OPEN)
    talk(port, PAGE)
    return talk(port, UPGRADE, PING) or talk(port, UPGRADE, PING)


def wait(process, seconds):
    """Returns its status, and the CPU time that it took in seconds; None where it does not end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime
        time.sleep(0.005)
    return None


def play(command, tracer):
    """One run under strace. Returns the exit status, the CPU time, what stderr said, and whether it began to serve."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(tracer + command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            readable = select.select([process.stdout], [], [], TIMEOUT_S)[0]
            line = process.stdout.readline() if readable else ""
            port = re.search(r"http://[^ ]*?:(\d+)", line)
            served = port and use(int(port[1]))
            if served:
                os.kill(process.pid, signal.SIGTERM)  # send_signal() would wait for it, too
            ended = wait(process, TIMEOUT_S if served else 2)
            if ended is None:
                raise Wrong("it does not end" if served else "a client is not served after the fault")
        finally:
            process.kill()
            process.communicate()
        log.seek(0)
        return *ended, log.read(), bool(port)


def trace(command):
    """All calls of main(), as (name, number of such calls in the process up to this one)."""
    with tempfile.NamedTemporaryFile("r") as file:
        play(command, ["strace", "-D", "-qq", "-o", file.name])
        lines = file.read().splitlines()
    points, count, begun = [], collections.Counter(), False
    for line in lines:
        name = re.match(r"(\w+)\(", line)
        if name is None:
            continue
        count[name[1]] += 1
        begun = begun or BEGIN.match(line) is not None
        if FILTER.match(line):
            break
        if begun and name[1] not in LEFT_OUT:
            points.append((name[1], count[name[1]]))
    if not points:
        sys.exit("program_faults: strace saw nothing of main()")
    return points


def choose(points):
    """The first calls of each kind, and others at even distances."""
    kinds = collections.defaultdict(list)
    for name, number in points:
        kinds[name].append(number)
    for name, numbers in sorted(kinds.items()):
        rest = numbers[FIRST:]
        for number in numbers[:FIRST] + rest[::max(1, len(rest) // FIRST)]:
            for error in f"{ERRORS.get(name, '')} {ANY}".split():
                yield name, number, error


def try_point(command, point):
    """None, or what is wrong."""
    name, number, error = point
    tracer = ["strace", "-D", "-qq", "-o", "/dev/null", "-e", f"trace={name}",
              "-e", f"inject={name}:error={error}:when={number}"]
    try:
        status, cpu_s, said, started = play(command, tracer)
    except Wrong as wrong:
        return str(wrong)
    lines = said.splitlines()
    if status not in (0, 1, 2):
        return f"it ends with status {status}: {said}"
    if status != 0 and (len(lines) != 1 or not lines[0].startswith("minnow: ")):
        return f"it ends with status {status} and {len(lines)} lines in place of one: {said}"
    if status == 0 and not started:
        return f"it ends without a word: {said}"
    return "it spins" if cpu_s > CPU_S else None


def main():
    parser = argparse.ArgumentParser(description="Let each system call of the program fail, one at a time.")
    parser.add_argument("--only", default="*", help="calls whose name matches")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    points = [p for p in choose(trace(arguments.command)) if fnmatch.fnmatchcase(p[0], arguments.only)]
    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        for point, fault in zip(points, pool.map(lambda p: try_point(arguments.command, p), points)):
            if fault:
                wrong += 1
                print("{} number {}: {}: ".format(*point) + fault, flush=True)
    print(f"{len(points)} faults of {len({p[0] for p in points})} system calls, {wrong} wrong")
    sys.exit(1 if wrong else 0)


main()
