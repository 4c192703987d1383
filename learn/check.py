#!/usr/bin/env python3
"""Does each step of the course do what its chapter promises, and is what comes next still missing?

    learn/check.py [--cc CC] [--wscheck PATH] [STEP ...]        as: learn/check.py 04 05
    learn/check.py --file mine.c 04                             your own program in place of step 4

Each step is compiled alone and started on a free port. It must pass the level of wscheck that it promises and fail the
next one; from step 7 on, it must show the property that it adds, and the step before must not. Prints a line for each
step, and "N passed, M failed". A program of your own may already do what the next step adds.
"""
import argparse
import concurrent.futures
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

from peer import Client, NotListening, Server

HERE = pathlib.Path(__file__).resolve().parent
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra"]


def level(name, jobs=64):
    """The property of passing a level of wscheck."""

    def passes(server, wscheck):
        url = f"ws://127.0.0.1:{server.port}/"
        run = subprocess.run([wscheck, "--level", name, "--jobs", str(jobs), "--timeout", "3", url],
                             stdout=subprocess.DEVNULL, check=False)
        return run.returncode == 0

    passes.__doc__ = f"wscheck --level {name}" + (f" --jobs {jobs}" if jobs == 1 else "")
    return passes


def echo(server, _):
    """TCP echo"""
    with socket.create_connection(("127.0.0.1", server.port), 2) as s:
        s.sendall(b"hello")
        return s.recv(5) == b"hello"


def two_at_once(server, _):
    """a second client while the first one is silent"""
    with socket.create_connection(("127.0.0.1", server.port), 2), \
            socket.create_connection(("127.0.0.1", server.port), 2) as second:
        second.sendall(b"hello")
        try:
            return second.recv(5) == b"hello"
        except socket.timeout:
            return False


def room(server, _):
    """a message goes to its room and to no other"""
    alice, bob, other = Client(server, "/tea"), Client(server, "/tea"), Client(server, "/coffee")
    alice.send(b"hello")
    if alice.receive() != b"hello" or bob.receive() != b"hello":
        return False
    other.send(b"mine")
    return other.receive() == b"mine"


def slow_reader(server, _):
    """a member of a room that does not read does not stop the others"""
    slow, alice = Client(server, "/tea", 4096), Client(server, "/tea")
    text = b"x" * 60000
    for _ in range(400):
        try:
            alice.send(text)
        except OSError:
            return False
        if alice.receive() != text:
            return False
    return slow.socket is not None


def late_reader(server, _):
    """a member of a room that reads late gets all messages"""
    late, alice = Client(server, "/tea", 4096), Client(server, "/tea")
    text = b"x" * 60000
    for _ in range(60):  # together less than a queue may hold
        alice.send(text)
        if alice.receive() != text:
            return False
    received = 0
    while received < 60:
        payload = late.receive()
        if payload not in (text, b""):  # a Ping has none
            return False
        received += payload == text
    return True


def busy_closing(server, _):
    """a client that sends on and on behind its Close is given up"""
    c = Client(server, "/tea")
    c.socket.sendall(b"\x88\x80\0\0\0\0")
    try:
        for _ in range(24):
            c.socket.sendall(b"x")
            time.sleep(0.5)
    except OSError:
        return True
    return False


def silent_peer(server, _):
    """a client that answers no Ping is given up"""
    return Client(server, "/tea").ends_within(24)


# number, promises, what the next step adds: still missing here; arguments
STEPS = [
    ("01_tcp_echo", [echo], two_at_once, []),
    ("02_epoll", [echo, two_at_once], level("handshake"), []),
    ("03_handshake", [level("handshake")], level("frames"), []),
    ("04_frames", [level("frames")], level("messages"), []),
    ("05_messages", [level("closing")], level("utf8"), []),
    ("06_strict", [level("strict")], room, []),
    ("07_chat", [level("strict", 1), room], slow_reader, []),
    ("08_backpressure", [level("closing", 1), room, slow_reader, late_reader], silent_peer, []),
    ("09_deadlines", [level("closing", 1), room, slow_reader, late_reader, silent_peer, busy_closing], level("http"),
     ["1"]),
    ("10_hostile", [level("strict", 1), level("http"), room, slow_reader, late_reader, silent_peer, busy_closing], None,
     ["1"]),
]


def keeps(has, binary, arguments, options):
    """A busy machine may be late with an answer, so this is asked twice before a program fails."""
    with Server(binary, *arguments) as server:
        return has(server, options.wscheck)


def check(name, promises, missing, arguments, directory, options):
    binary = os.path.join(directory, name)
    source = options.file or HERE / f"{name}.c"
    flags = FLAGS if options.file else [*FLAGS, "-Werror"]
    if subprocess.run([options.cc, *flags, "-o", binary, source], check=False).returncode != 0:
        return [f"{source} does not compile with {' '.join(flags)}"]
    faults = []
    try:
        for has in promises:
            if not keeps(has, binary, arguments, options) and not keeps(has, binary, arguments, options):
                faults.append(f"lacks: {has.__doc__}")
        if missing is not None and options.file is None:
            with Server(binary, *arguments) as server:
                if missing(server, options.wscheck):
                    faults.append(f"has already: {missing.__doc__}")
    except NotListening as fault:
        faults.append(str(fault))
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--wscheck", default="./wscheck")
    parser.add_argument("--file")
    parser.add_argument("step", nargs="*")
    options = parser.parse_args()
    if options.file is not None and len(options.step) != 1:
        parser.error("--file goes with one step, as in: --file mine.c 04")
    passed = failed = 0
    steps = [step for step in STEPS if not options.step or step[0][:2] in options.step]
    # Most of it is waiting, so several are checked at once.
    with tempfile.TemporaryDirectory() as directory, concurrent.futures.ThreadPoolExecutor(4) as pool:
        for step, faults in zip(steps, pool.map(lambda step: check(*step, directory, options), steps)):
            print(f"{step[0]}: {'; '.join(faults) or 'as promised'}", flush=True)
            passed += not faults
            failed += bool(faults)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
