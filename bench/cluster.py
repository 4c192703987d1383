#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What clusters cost: workers, messages through Redis, hand-overs. In alternating rounds, by processor time.

    bench/cluster.py [--rounds 7] [--only PATTERN] [--before ./minnow-of-another-commit] [--write]

Prints Markdown tables; with --write also into docs/cluster.md. The servers and Redis share one core, the load has the
other; only the rows "not pinned" leave that to the system. With --before it counts the instructions of that program
and of this one by callgrind.
"""

import argparse
import os
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time

import hand_over
import report

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
MEMBERS = 200
SUBSCRIBERS = (0, 1, 10, 100)
TURNS = (1, 2, 4, 16, 64)
SERVER_CORE, LOAD_CORE = 0, 1


def say(text):
    print(text, file=sys.stderr, flush=True)


def pinned(core):
    return ["taskset", "-c", str(core)] if core is not None else []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(connects, process):
    end = time.monotonic() + 20
    while not connects():
        if process.poll() is not None or time.monotonic() > end:
            sys.exit(f"cluster.py: {process.args} does not listen")
        time.sleep(0.02)


class Server:
    """A process, or a parent with workers, that listens on a port."""

    def __init__(self, command, core=SERVER_CORE):
        self.port = free_port()
        words = pinned(core) + shlex.split(command.format(port=self.port))
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        wait_for(self.listens, self.process)

    def listens(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def pids(self):
        done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [self.process.pid] + [int(pid) for pid in done.stdout.split()]

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Redis:
    """On a Unix socket, without a disk. `with` ends it."""

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="minnow-bench-")
        self.path = os.path.join(self.directory.name, "redis.sock")
        self.port = free_port()
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.path,
                   "--save", "", "--appendonly", "no", "--dir", self.directory.name]
        self.process = subprocess.Popen(pinned(SERVER_CORE) + command, stdout=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(self.path), self.process)
        self.url = f"redis://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()


def figures(command):
    """Run a program that prints key=value lines."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        sys.exit(f"cluster.py: {' '.join(command)}: {done.stderr.strip()}")
    lines = dict(line.split("=", 1) for line in done.stdout.splitlines())
    return {key: float(value) for key, value in lines.items() if re.fullmatch(r"-?[\d.]+", value)}


def load(options, port, pids, args, core=LOAD_CORE):
    pid_args = [word for pid in pids for word in ("--pid", str(pid))]
    return figures(pinned(core) + [f"{options.build}/bench/load", "--port", str(port), *pid_args, "--warmup", "0.1",
                                   "--duration", "0.4", *shlex.split(args)])


def alternate(options, measures):
    """Call the functions of {name: function} in turn. Returns {name: [what each round gave]}."""
    names = list(measures)
    results = {name: [] for name in names}
    for number in range(options.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(measures[name]())
    return results


def spread(values):
    """The median, and in brackets the middle half of the rounds."""
    low, high = report.middle_half(values)
    return f"{report.number(statistics.median(values))} ({report.number(low)}-{report.number(high)})"


def row_of(name, *cells):
    return report.row([name, *cells])


# --- workers -----------------------------------------------------------------------------------------

# (title, load on one process, load on two workers, pinned)
WORKER_LOADS = [
    ("echo 64 B, 100 connections each, 15,000/s each", "--connections 100 --size 64 --rate 15000",
     "--connections 200 --size 64 --rate 30000", True),
    ("echo 32 B, 25 connections each, 64 in flight", "--connections 25 --size 32 --depth 64",
     "--connections 50 --size 32 --depth 64", True),
    ("echo 64 B, 200 connections together, 1 in flight, not pinned", "--connections 200 --size 64",
     "--connections 200 --size 64", False),
]


def workers(options):
    lines = ["#### Two workers against one process", ""] + report.header(
        "workload", ["us of CPU, 1 process", "us of CPU, 2 workers", "CPU, 2 by 1", "messages/s, 2 by 1"])
    for title, *args, is_pinned in WORKER_LOADS:
        core = SERVER_CORE if is_pinned else None
        one, two = (Server(f"{options.build}/minnow echo -q -p {{port}} --workers {n}", core) for n in (1, 2))
        load_core = LOAD_CORE if is_pinned else None
        try:
            results = alternate(options, {
                name: lambda s=s, a=a: load(options, s.port, s.pids(), a, load_core)
                for name, s, a in (("1", one, args[0]), ("2", two, args[1]))})
        finally:
            one.stop()
            two.stop()
        cpu = {n: [r["cpu_us_per_message"] for r in results[n]] for n in "12"}
        rate = {n: [r["messages_per_s"] for r in results[n]] for n in "12"}
        lines.append(row_of(title, spread(cpu["1"]), spread(cpu["2"]), spread(quotients(cpu["2"], cpu["1"])),
                            spread(quotients(rate["2"], rate["1"]))))
    return lines


def quotients(above, below):
    return [a / b for a, b in zip(above, below)]


# --- through Redis -----------------------------------------------------------------------------------


def room(options, servers, args):
    sender, members = servers
    return load(options, members.port, [sender.process.pid, members.process.pid],
                f"--protocol socketio --mode room --connections {MEMBERS + 1} --size 64 --text "
                f"--sender-port {sender.port} {args}")


def broadcasts(options):
    lines = ["", "#### A broadcast to members on another process", ""] + report.header(
        f"Socket.IO, {MEMBERS} clients, 64 B, per delivery", ["us of CPU, Node", "us of CPU, minnow", "Node by minnow",
                                                              "deliveries per CPU second, minnow"])
    with Redis() as redis:
        commands = {"node": f"node {HERE}/peers/socketio.js {{port}} chat {redis.url}",
                    "minnow": f"{options.build}/minnow chat -q -p {{port}} --redis {redis.url}"}
        for title, args in (("1 at a time", ""), ("16 at a time", "--depth 16")):
            running = {}
            try:
                for name, command in commands.items():
                    running[name] = [Server(command), Server(command)]
                for servers in running.values():  # node compiles in its first seconds
                    room(options, servers, f"--warmup {options.compile_time} {args}")
                results = alternate(options, {name: lambda s=s: room(options, s, args)["cpu_us_per_message"]
                                              for name, s in running.items()})
            finally:
                for server in sum(running.values(), []):
                    server.stop()
            node, minnow = results["node"], results["minnow"]
            lines.append(row_of(title, spread(node), spread(minnow), spread(quotients(node, minnow)),
                                report.number(1e6 / statistics.median(minnow))))
    return lines


def subscribe(redis, count):
    """A process that subscribes `count` times to the room of bench/publish, and reads."""
    program = """
import select, socket, sys
poll, all = select.epoll(), {}
for _ in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(b"SUBSCRIBE minnow#room#/bench\\r\\n")
    s.recv(65536)
    all[s.fileno()] = s
    poll.register(s, select.EPOLLIN)
print("ready", flush=True)
while True:
    for fd, _ in poll.poll():
        if not all[fd].recv(1 << 20):
            sys.exit()
"""
    process = subprocess.Popen(pinned(LOAD_CORE) + [sys.executable, "-c", program, redis.path, str(count)],
                               stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process


def publish(options, redis, args):
    return figures(pinned(LOAD_CORE) + [f"{options.build}/bench/publish", "--redis", f"redis+unix://{redis.path}",
                                        "--pid", str(redis.process.pid), *shlex.split(args)])


def publishing(options):
    lines = ["", "#### A message that reaches no local member", ""] + report.header(
        "published in a turn, 32 B", ["us of CPU, minnow", "us of CPU, Redis"])
    cases = {str(n): f"--turn {n} --messages 50000" for n in TURNS}
    cases["1, each 5 ms, so that both sleep before each"] = "--interval 5 --messages 100"
    with Redis() as redis:
        results = alternate(options, {name: lambda args=args: publish(options, redis, args)
                                      for name, args in cases.items()})
    lines += [row_of(name, *(spread([r[key] for r in results[name]]) for key in ("cpu_us", "redis_us")))
              for name in cases]
    return lines + subscribers(options)


def subscribers(options):
    lines = ["", "#### Redis, for each message", ""] + report.header("processes with members", ["us of CPU, Redis"])
    with Redis() as redis:
        for count in SUBSCRIBERS:
            process = subscribe(redis, count)
            try:
                each = [publish(options, redis, f"--turn 4 --messages {200000 // (count + 10)}")["redis_us"]
                        for _ in range(options.rounds)]
            finally:
                process.kill()
                process.wait()
            lines.append(row_of(str(count), spread(each)))
    return lines


# --- hand-overs --------------------------------------------------------------------------------------


def hand_overs(options):
    here, there = hand_over.measure(f"{options.build}/minnow", 2000, options.rounds)
    lines = ["", "#### A request that lands on the wrong worker", ""] + report.header(
        "polling request", ["us of CPU, all processes", "us until the answer"])
    more = [[b - a for a, b in zip(*pair)] for pair in zip(here, there)]
    return lines + [row_of(name, *(spread([r[i] for r in results]) for i in (1, 0)))
                    for name, results in (("served where it lands", here), ("handed over", there),
                                          ("difference", more))]


# --- instructions ------------------------------------------------------------------------------------


def connect(port):
    c = socket.create_connection(("127.0.0.1", port))
    c.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % port)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += c.recv(1)
    return c


def exchange(clients, count):
    """The first client sends a text of 64 bytes, everybody gets it; then the next one."""
    frame = b"\x81\xc0\0\0\0\0" + b"x" * 64
    for _ in range(count):
        clients[0].sendall(frame)
        for c in clients:
            if len(c.recv(66, socket.MSG_WAITALL)) != 66:
                sys.exit("cluster.py: a message is missing")


def counted(path):
    with open(path, encoding="ascii", errors="replace") as f:
        return int(re.search(r"^totals: (\d+)", f.read(), re.M).group(1))


def instructions(program, mode, members, count):
    with tempfile.TemporaryDirectory(prefix="minnow-bench-") as directory:
        server = Server(f"valgrind --tool=callgrind --trace-children=yes --log-file=/dev/null "
                        f"--callgrind-out-file={directory}/%p {program} {mode} -q "
                        f"--no-sandbox -p {{port}}", None)
        clients = [connect(server.port) for _ in range(members)]
        exchange(clients, count)
        server.process.send_signal(signal.SIGTERM)
        for c in clients:
            c.close()
        server.process.wait()
        return sum(counted(os.path.join(directory, name)) for name in os.listdir(directory))


def per_message(program, mode, members):
    few, many = (instructions(program, mode, members, count) for count in (500, 2500))
    return (many - few) / 2000


def without_cluster(options):
    if not options.before:
        return []
    now = f"{options.build}/minnow"
    lines = ["", "#### Instructions in the program, by callgrind", ""] + report.header(
        "workload", ["before", "now", "now by before"])
    for title, mode, members in (("echo 64 B", "echo", 1), ("publish 64 B to 10 members", "chat", 10)):
        each = {program: statistics.median(per_message(program, mode, members) for _ in range(3))
                for program in (options.before, now)}
        before, after = each.values()
        lines.append(row_of(title, f"{before:,.0f}", f"{after:,.0f}", f"{after / before:.3f}"))
    worker = statistics.median(per_message(now, "echo --workers 2", 1) for _ in range(3))
    return lines + [row_of("echo 64 B by one of 2 workers", "-", f"{worker:,.0f}", "-")]


# --- the command line --------------------------------------------------------------------------------

PARTS = {"workers": workers, "broadcasts": broadcasts, "publishing": publishing, "hand-overs": hand_overs,
         "instructions": without_cluster}


def circumstances(options):
    text = (f"{time.strftime('%Y-%m-%d')}, commit {report.output_of('git', 'rev-parse', '--short', 'HEAD')}; "
            f"{report.processor()}, {os.cpu_count()} cores, load average at the end {os.getloadavg()[0]:.1f}; "
            f"{report.output_of('redis-server', '--version').split(' sha')[0]}, node "
            f"{report.output_of('node', '--version')}, socket.io {report.npm_version('socket.io')}, "
            f"@socket.io/redis-adapter {report.npm_version('@socket.io/redis-adapter')}. Medians of "
            f"{options.rounds} alternating rounds, in brackets the middle half of them.")
    return ["", *textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(ROOT, "build"), help="where `make` put the programs")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--only", default="", metavar="PATTERN", help=f"of the parts: {', '.join(PARTS)}")
    p.add_argument("--before", metavar="PROGRAM", help="a minnow to compare the instructions with")
    p.add_argument("--compile-time", type=float, default=4, help="seconds that node gets before it is measured")
    p.add_argument("--write", action="store_true", help="write docs/cluster.md also after a partial run")
    options = p.parse_args()
    options.build = os.path.abspath(options.build)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # runs the `finally` that ends the servers
    lines = []
    for name, part in PARTS.items():
        if re.search(options.only, name):
            say(name)
            lines += part(options)
            say("\n".join(lines[-8:]))
    text = "\n".join(lines + circumstances(options)).strip() + "\n"
    print(text)
    if options.write or not options.only:
        report.write_document(os.path.join(ROOT, "docs", "cluster.md"), text, "make bench BENCH=cluster")


if __name__ == "__main__":
    main()
