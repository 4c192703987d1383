#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What does an attacker's byte cost the server, compared with an honest client's?

    bench/attack_cost.py [--only PATTERN] [--program PATH]

Each pattern of attack_patterns.py runs on a new ./minnow, and so does the honest client that it is compared with. The
processor time is that of the server's process, kernel included, and the best of ROUNDS rounds. Prints a Markdown table.
Exits with 1 if an attacker's byte costs more than ten times as much, but for the patterns that have a ratio of their
own, or if the server holds more memory than --max-memory and BEYOND_MIB."""

import argparse
import fnmatch
import os
import resource
import subprocess
import sys
import time

from attack_patterns import PATTERNS

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROUNDS = 4
# The program itself, libc included, takes 4; what is not counted, see docs/design.md, is in the others.
BEYOND_MIB = 12


class Server:
    """A new minnow with its log thrown away: its limits of the log are part of what is measured."""

    def __init__(self, program, mode, memory_mib):
        command = [program, mode, "-p", "0", "--max-memory", "%dM" % memory_mib]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().split("127.0.0.1:")[1].split("/")[0])
        self.rss_mib = self.memory_mib("VmRSS")

    def cpu_ns(self):
        """Of the whole process, in the kernel's nanoseconds; clock_getcpuclockid(3) of another process."""
        return time.clock_gettime_ns((~self.process.pid << 3) | 2)

    def sleeps(self):
        """It waits for its clients, rather than for the processor."""
        with open("/proc/%d/stat" % self.process.pid) as stat:
            return stat.read().rpartition(")")[2].split()[0] == "S"

    def settled_cpu_ns(self):
        """The same when the server has finished: an idle one uses no processor time."""
        before = -1
        for _ in range(500):
            now = self.cpu_ns()
            if now == before and self.sleeps():
                break
            before = now
            time.sleep(0.01)
        return now

    def memory_mib(self, field):
        with open("/proc/%d/status" % self.process.pid) as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) / 1024
        raise OSError("no " + field)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def measure(program, pattern, side):
    """Returns the nanoseconds for a byte, and the memory in MiB at most, alone and beyond the start."""
    best = float("inf")
    server = Server(program, pattern.mode, pattern.memory_mib)
    try:
        for _ in range(ROUNDS):
            running = side(server)
            next(running)
            begun = server.settled_cpu_ns()
            try:
                next(running)
            except StopIteration as end:
                size = end.value
            best = min(best, (server.settled_cpu_ns() - begun) / size)
        peak = server.memory_mib("VmHWM")
        return best, peak, peak - server.rss_mib
    finally:
        server.stop()


def judge(program, pattern):
    """Print the row of a pattern. Returns what is wrong with it. A ratio that is too high is measured once more, since
    other programs on the machine may have disturbed one side."""
    for _ in range(2):
        attack, peak, growth = measure(program, pattern, pattern.attack)
        honest = measure(program, pattern, pattern.honest)[0]
        ratio = attack / honest
        if ratio <= pattern.max_ratio:
            break
    row = "| %s | %s | %.2f | %.2f | %.1f | %.1f |"
    print(row % (pattern.name, pattern.aim, attack, honest, ratio, growth), flush=True)
    faults = []
    if ratio > pattern.max_ratio:
        faults.append("%s: a byte costs %.1f times as much" % (pattern.name, ratio))
    if peak > pattern.memory_mib + BEYOND_MIB:
        faults.append("%s: %.1f MiB with --max-memory %dM" % (pattern.name, peak, pattern.memory_mib))
    return faults


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--only", default="*", help="names of patterns, such as '*GET*'")
    arguments.add_argument("--program", default=os.path.join(ROOT, "minnow"))
    given = arguments.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    print("| attack | aims at | ns a byte | honest ns a byte | ratio | RSS growth, MiB |\n|---|---|---|---|---|---|")
    faults = []
    for pattern in PATTERNS:
        if fnmatch.fnmatch(pattern.name, given.only):
            faults += judge(given.program, pattern)
    for fault in faults:
        print("attack_cost: " + fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
