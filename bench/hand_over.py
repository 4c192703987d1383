#!/usr/bin/env python3
"""What a hand-over between workers costs: requests of two sessions in turn on one connection, once with both sessions
on one worker, and once on two. For docs/cluster.md; bench/cluster.py measures with it, too.

    bench/hand_over.py ./minnow [requests]
"""
import base64
import json
import re
import socket
import statistics
import subprocess
import sys
import time


def ask(s, method, query, body=b""):
    s.sendall(b"%s /socket.io/?EIO=4&transport=polling%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
              % (method, query, len(body), body))
    answer = s.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return answer.partition(b"\r\n\r\n")[2]


def cpu_s(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def run(s, pids, sessions, count):
    used, began = cpu_s(pids), time.monotonic()
    for i in range(count):
        ask(s, b"POST", sessions[i & 1], b"6")
    return (time.monotonic() - began) / count * 1e6, (cpu_s(pids) - used) / count * 1e6


def sessions_of_two_workers(port):
    """Two or more query strings of each worker."""
    queries = {}
    while min(map(len, queries.values()), default=0) < 2 or len(queries) < 2:
        with socket.create_connection(("127.0.0.1", port)) as c:
            sid = json.loads(ask(c, b"GET", b"")[1:])["sid"].encode()
            queries.setdefault(base64.urlsafe_b64decode(sid[:4])[:2], []).append(b"&sid=" + sid)
    return queries.values()


def measure(program, count, rounds):
    """Two lists of (us until the answer, us of processor time): answered where it lands, and handed over."""
    server = subprocess.Popen([program, "--workers", "2", "-q", "-p", "0", "--ping-interval", "3600"],
                              stdout=subprocess.PIPE)
    try:
        port = int(re.search(rb"127\.0\.0\.1:(\d+)", server.stdout.readline()).group(1))
        children = subprocess.check_output(["ps", "-o", "pid=", "--ppid", str(server.pid)]).split()
        processes = [server.pid] + [int(pid) for pid in children]
        one, other = sessions_of_two_workers(port)
        here, there = [], []
        with socket.create_connection(("127.0.0.1", port)) as c:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(rounds):
                here.append(run(c, processes, [one[0], one[1]], count))
                there.append(run(c, processes, [one[0], other[0]], count))
        return here, there
    finally:
        server.terminate()
        server.wait()


def main():
    results = measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20000, 5)
    for name, each in zip(("answered where it lands", "handed over"), results):
        wall, cpu = (statistics.median(r[i] for r in each) for i in (0, 1))
        print(f"{name:24} {wall:6.1f} us a request, {cpu:6.1f} us of processor time")


if __name__ == "__main__":
    main()
