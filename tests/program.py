# SPDX-License-Identifier: MIT
"""A server program as a process: started on a free port, watched through /proc, ended for certain."""
import ctypes
import os
import re
import signal
import subprocess

PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """`command` prints a line with its address, and then serves."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        line = self.process.stdout.readline()
        found = re.search(r"http://[^ ]*?:(\d+)", line)
        if found is None:
            raise SystemExit(f"{command[0]} does not start: {line!r}")
        self.port = int(found[1])
        self.start_sockets = self.sockets()

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])

    def sockets(self):
        """Descriptors that are sockets, listening ones included."""
        count = 0
        path = f"/proc/{self.process.pid}/fd"
        for name in os.listdir(path):
            try:
                count += os.readlink(f"{path}/{name}").startswith("socket:")
            except FileNotFoundError:
                pass
        return count

    def connections(self):
        return self.sockets() - self.start_sockets

    def alive(self):
        return self.process.poll() is None

    def send_signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """End it as a user does. Returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
