#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The benchmark: servers in turn (A B C, B C A, ...), one core for them and one for the load.

    bench/run.py [--quick] [--only PATTERN] [--servers raw,minnow] [--peer NAME='command {port} {mode}']
    bench/run.py --socketio [--quick] [--only PATTERN] [--peer ...]
    bench/run.py --profile [--only PATTERN]

Prints a Markdown table. The full run also writes docs/performance.md and the plots beside it.
Figures are medians over rounds; ratios are taken within a round, so that what disturbs a round disturbs
both sides of the ratio. Anything that a server cannot do is a dash with a reason under the table.
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
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import profile
import report

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)


@dataclass
class Server:
    """`command` has {port} and {mode}, which is "echo" or "chat"."""

    name: str
    command: str
    protocol: str = "ws"
    no_size: str = ""  # why the size of its program means nothing
    echo: str = ""  # its program that only echoes, if `command` does more
    compiles: bool = False  # just in time: it reaches its full speed only after a while


@dataclass
class Workload:
    key: str
    title: str
    args: str  # of build/bench/load
    mode: str = "echo"  # of the server
    value: str = "cpu_us_per_message"
    unit: str = "us"
    ratio: bool = True  # compare as raw divided by server
    target: float = 0  # the ratio to reach, or the value not to pass
    fresh: bool = False  # wants a new server in every round
    quick_args: str = ""
    skip: dict = field(default_factory=dict)  # server name: reason
    raw_args: str = ""  # for the server "raw", if the same bytes are another payload
    raw_times: float = 1  # how many messages of raw count as one
    raw_mode: str = ""  # the mode of raw, if it is another


PROFILE_TIME = 3  # seconds
SCRIPT = "not a program of its own, but a script"
NO_MEMORY = {"raw": "it holds a descriptor and no state"}

# The goals are ratios of processor time per message, raw divided by minnow, or values.
WORKLOADS = [
    Workload("echo64", "echo 64 B, 200 connections, 1 in flight",
             "--connections 200 --size 64", target=1.00),
    Workload("echo32", "echo 32 B, 50 connections, 64 in flight",
             "--connections 50 --size 32 --depth 64", target=1.00),
    Workload("text16k", "echo 16 KiB text, 50 connections",
             "--connections 50 --size 16384 --text", target=0.99),
    Workload("binary1m", "echo 1 MiB binary, 8 connections",
             "--connections 8 --size 1048576", target=1.00),
    Workload("text1m", "echo 1 MiB text, 8 connections",
             "--connections 8 --size 1048576 --text", target=0.99),
    Workload("chinese1m", "echo 1 MiB Chinese text, 8 connections",
             "--connections 8 --size 1048576 --text=chinese", target=0.99),
    Workload("echo10k", "echo 64 B, 10,000 connections",
             "--connections 10000 --size 64", target=1.05, quick_args="--connections 2000 --size 64"),
    Workload("room1", "room of 500, 64 B, 1 at a time, per delivery",
             "--mode room --connections 500 --size 64 --text", mode="chat", target=1.00),
    Workload("room16", "room of 500, 64 B, 16 at a time, per delivery",
             "--mode room --connections 500 --size 64 --text --depth 16", mode="chat", target=1.00),
    Workload("idle", "user memory per idle connection, 15,000 of them",
             "--mode idle --connections 15000 --duration 0.5", value="user_bytes_per_connection", unit="B",
             ratio=False, target=160, fresh=True, skip=NO_MEMORY,
             quick_args="--mode idle --connections 2000 --duration 0.1"),
    Workload("connect", "server CPU per new connection with handshake",
             "--mode connect --connections 1000 --depth 64", ratio=False, target=20),
]

# Socket.IO: the event ["m", payload]. raw moves as many bytes: frames of 75 for a payload of 64. On polling raw
# echoes 240 bytes, the size of a request and of a response: once for each delivery of a broadcast, twice for an
# echo. The goals are ratios of processor time per message, npm socket.io divided by minnow,
# or values.
SOCKETIO_WORKLOADS = [
    Workload("sio-echo", "echo 64 B on WebSocket, 200 clients, 1 in flight",
             "--connections 200 --size 64 --text", raw_args="--connections 200 --size 75", target=8.00),
    Workload("sio-echo16", "echo 64 B on WebSocket, 50 clients, 16 in flight",
             "--connections 50 --size 64 --text --depth 16", raw_args="--connections 50 --size 75 --depth 16",
             target=8.00),
    Workload("sio-text4k", "echo 4 KiB of mixed text on WebSocket, 50 clients, 1 in flight",
             "--connections 50 --size 4096 --text=mixed", raw_args="--connections 50 --size 4107", target=8.00),
    Workload("sio-binary", "echo 64 B binary on WebSocket, 50 clients, 16 in flight",
             "--connections 50 --size 64 --depth 16", raw_args="--connections 50 --size 107 --depth 16",
             target=8.00),
    Workload("sio-poll", "echo 64 B on polling, 100 clients, 1 in flight",
             "--protocol polling --connections 100 --size 64 --text",
             raw_args="--connections 200 --size 240", raw_times=2, target=5.00),
    Workload("sio-poll16", "echo 64 B on polling, 100 clients, 16 in flight",
             "--protocol polling --connections 100 --size 64 --text --depth 16",
             raw_args="--connections 200 --size 800", raw_times=2 / 16, target=5.00),
    Workload("sio-room1", "broadcast to 500 clients, 64 B, 1 at a time, per delivery",
             "--mode room --connections 500 --size 64 --text",
             raw_args="--mode room --connections 500 --size 75", mode="chat", target=5.00),
    Workload("sio-room16", "broadcast to 500 clients, 64 B, 16 at a time, per delivery",
             "--mode room --connections 500 --size 64 --text --depth 16",
             raw_args="--mode room --connections 500 --size 75 --depth 16", mode="chat", target=5.00),
    Workload("sio-pollroom", "broadcast to 500 clients on polling, 64 B, 1 at a time, per delivery",
             "--protocol polling --mode room --connections 500 --size 64 --text", mode="chat",
             raw_args="--connections 500 --size 240", raw_mode="echo", target=5.00),
    Workload("sio-idle", "user memory per idle client on WebSocket, 10,000 of them",
             "--mode idle --connections 10000 --duration 0.5", value="user_bytes_per_connection", unit="B",
             ratio=False, target=1024, fresh=True, skip=NO_MEMORY,
             quick_args="--mode idle --connections 2000 --duration 0.1"),
]

RATE = Workload("rate", "echo 64 B, 200 connections, 10,000 messages/s at fixed times",
                "--connections 200 --size 64 --rate 10000")


def built_in_servers(build):
    python = "/usr/bin/python3"
    return [
        Server("raw", f"{build}/bench/raw {{mode}} {{port}}", "raw"),
        Server("minnow", f"{build}/minnow {{mode}} -q -p {{port}}", echo=f"{build}/examples/echo"),
        Server("libwebsockets", f"{build}/bench/lws {{port}} {{mode}}", no_size="it is a shared library"),
        Server("ws", f"node {HERE}/peers/ws.js {{port}} {{mode}}", no_size=SCRIPT, compiles=True),
        Server("socket.io", f"node {HERE}/peers/socketio.js {{port}} {{mode}}", "socketio", SCRIPT, True),
        Server("websockets", f"{python} {HERE}/peers/websockets_server.py {{port}} {{mode}}", no_size=SCRIPT),
    ]


def socketio_servers(build):
    return [
        Server("socket.io", f"node {HERE}/peers/socketio.js {{port}} {{mode}}", "socketio", SCRIPT, True),
        Server("minnow", f"{build}/minnow {{mode}} -q -p {{port}}", "socketio"),
        Server("raw", f"{build}/bench/raw {{mode}} {{port}}", "raw"),
    ]


# --- running -----------------------------------------------------------------------------------------


class Failed(Exception):
    """A server or a run that did not work; the text goes under the table."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Running:
    """A server that has been started on its core."""

    def __init__(self, bench, server, mode, key):
        self.port = free_port()
        self.log = os.path.join(bench.logs, f"{server.name}.log")
        command = shlex.split(server.command.format(port=self.port, mode=mode))
        command = bench.pin(bench.options.server_core, key) + command
        with open(self.log, "w") as log:
            try:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
            except OSError as error:
                raise Failed(str(error)) from error
        self.wait_until_listening()

    def wait_until_listening(self):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failed(f"ended at once: {self.last_words()}")
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        self.stop()
        raise Failed("does not listen after 20 s")

    def last_words(self):
        with open(self.log, errors="replace") as log:
            lines = log.read().strip().splitlines()
        return lines[-1] if lines else "no output"

    def rest(self):
        """Wait until the server sleeps. Some servers need seconds to close 10,000 connections, and the next
        server runs on the same core."""
        end = time.monotonic() + 10
        before = None
        while time.monotonic() < end:
            now = self.cpu_ns()
            if before is not None and now - before < 5_000_000:
                return
            before = now
            time.sleep(0.1)

    def cpu_ns(self):
        try:
            with open(f"/proc/{self.process.pid}/schedstat") as f:
                return int(f.read().split()[0])
        except OSError:
            return 0

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bench:
    """One run of the benchmark: what was asked for, and what came out."""

    def __init__(self, options, servers):
        self.options = options
        self.servers = servers
        self.baseline = "socket.io" if options.socketio else "raw"  # of the ratios
        self.load = f"{options.build}/bench/load"
        self.logs = os.path.join(options.build, "bench", "logs")
        self.reasons = {}  # (workload key, server name): why there is no figure
        self.start = time.monotonic()
        os.makedirs(self.logs, exist_ok=True)

    def say(self, text):
        elapsed = int(time.monotonic() - self.start)
        print(f"[{elapsed // 60:2}:{elapsed % 60:02}] {text}", file=sys.stderr, flush=True)

    def pin(self, core, key):
        """The prefix of a command. The row of new connections never runs with real-time priority: the kernel's
        threads that clean up old connections would have to wait, and a new one would cost twice as much."""
        ahead = ["chrt", "--rr", "1"] if self.options.realtime and key != "connect" else []
        return ahead + (["taskset", "-c", str(core)] if core >= 0 else [])

    def measure(self, running, server, key, args, warmup, duration):
        """One run of the load generator. Returns its figures."""
        command = self.pin(self.options.load_core, key) + [self.load, "--port", str(running.port),
                                   "--pid", str(running.process.pid),
                                   "--protocol", server.protocol, "--warmup", str(warmup),
                                   "--duration", str(duration)] + shlex.split(args)
        done = subprocess.run(command, capture_output=True, text=True)
        if running.process.poll() is not None:
            raise Failed(f"the server ended: {running.last_words()}")
        if done.returncode != 0:
            raise Failed(done.stderr.strip().removeprefix("load: "))
        figures = dict(line.split("=", 1) for line in done.stdout.splitlines())
        is_number = re.compile(r"-?[\d.]+").fullmatch
        return {name: float(value) if is_number(value) else value for name, value in figures.items()}

    def rounds(self, key, args, mode, count, warmup, duration, skip=(), fresh=False, until=None, raw=None):
        """Run all servers in turn, `count` times. Returns {server name: [figures of each round]}.

        With `until`, no round but the first begins after that time. `raw` is that server's own (args, mode)."""
        own = {"raw": raw} if raw else {}
        running = {}
        results = {}
        for server in self.servers:
            if server.name in skip:
                self.reasons[key, server.name] = skip[server.name]
            else:
                results[server.name] = []
        try:
            for number in range(count):
                if number > 0 and until is not None and time.monotonic() > until:
                    break
                first = number % len(self.servers)
                for server in [s for s in self.servers[first:] + self.servers[:first] if s.name in results]:
                    self.turn(key, server, running, results, *own.get(server.name, (args, mode)), warmup,
                              duration, fresh)
        finally:
            for server in running.values():
                server.stop()
        return results

    def turn(self, key, server, running, results, args, mode, warmup, duration, fresh):
        """One server's turn in a round: start it if it does not run, measure, note the figures."""
        try:
            if server.name not in running:
                running[server.name] = Running(self, server, mode, key)
                if server.compiles and not fresh:
                    self.measure(running[server.name], server, key, args, 0, self.options.compile_time)
            results[server.name].append(self.measure(running[server.name], server, key, args, warmup, duration))
            if fresh:
                running.pop(server.name).stop()
            else:
                running[server.name].rest()
        except Failed as failure:
            self.say(f"{server.name}: {failure}")
            self.reasons[key, server.name] = str(failure)
            del results[server.name]

    def workload(self, w, until=None):
        o = self.options
        self.say(report.title(self, w))
        args = w.quick_args if o.quick and w.quick_args else w.args
        results = self.rounds(w.key, args, w.mode, self.round_count(w), o.warmup, o.duration,
                              w.skip, w.fresh, until, (w.raw_args or args, w.raw_mode or w.mode))
        for figures in results.get("raw", []):
            figures["cpu_us_per_message"] *= w.raw_times
        line = ", ".join(f"{name} {report.number(median(rounds, w.value))}" for name, rounds in results.items())
        self.say(f"    {line} {w.unit}")
        return results

    def round_count(self, w):
        """Memory varies little from round to round, and thousands of connections take their time."""
        few = 1 if self.options.quick else 3
        return min(few, self.options.rounds) if w.fresh else self.options.rounds

    def profile(self, server, w):
        """Where the time of one server goes, as cells of a table."""
        self.say(f"profile: {report.title(self, w)}: {server.name}")
        args, mode = (w.raw_args or w.args, w.raw_mode or w.mode) if server.name == "raw" else (w.args, w.mode)
        times = w.raw_times if server.name == "raw" else 1
        warmup = self.options.compile_time if server.compiles else 1
        running = Running(self, server, mode, w.key)
        try:
            with ThreadPoolExecutor() as pool:
                load = pool.submit(self.measure, running, server, w.key, args, warmup, PROFILE_TIME + 2)
                time.sleep(warmup + 1)
                shares = profile.record(running.process.pid, PROFILE_TIME, running.log + ".perf")
                cost = load.result()["cpu_us_per_message"] * 1000 * times
        finally:
            running.stop()
        return profile.cells(server.name, cost, shares)

    def starts(self):
        """Size on disk without symbols, that of an echo server, and time from start to first accept."""
        rows = {}
        for server in self.servers:
            port = free_port()
            command = shlex.split(server.command.format(port=port, mode="echo"))
            start = self.pin(self.options.load_core, "start") + [f"{self.options.build}/bench/start", str(port), "20"]
            done = subprocess.run(start + self.pin(self.options.server_core, "start") + command,
                                  capture_output=True, text=True, cwd=ROOT)
            start = done.stdout.strip().partition("=")[2]
            sizes = (None, None) if server.no_size else (stripped_size(command[0]),
                                                         stripped_size(server.echo or command[0]))
            rows[server.name] = (*sizes, float(start) if start else None)
        return rows


def median(rounds, key):
    return statistics.median(r[key] for r in rounds)


def stripped_size(path):
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, "stripped")
        subprocess.run(["strip", "-o", copy, path], check=True)
        return os.path.getsize(copy)


# --- plots -------------------------------------------------------------------------------------------

SIZES = [16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576]
CONNECTIONS = [1, 10, 50, 200, 1000, 3000, 10000]
DEPTHS = [1, 2, 4, 8, 16, 32, 64, 128]
IDLE = [1000, 3000, 6000, 10000, 15000]


def series(bench, name, points, args, value, fresh=False):
    """Run `args` with {x} at each point. Returns {server name: [(x, median)]}."""
    lines = {server.name: [] for server in bench.servers}
    for x in points:
        bench.say(f"plot: {name} {x}")
        results = bench.rounds(f"plot-{name}", args.format(x=x), "echo", 1 if fresh else 3, 0.1, 0.3, fresh=fresh,
                               until=time.monotonic() + 20)
        for server, rounds in results.items():
            lines[server].append((x, median(rounds, value)))
    return lines


def plots(bench):
    directory = os.path.join(ROOT, "docs", "performance")
    os.makedirs(directory, exist_ok=True)
    data = os.path.join(bench.options.build, "bench", "plots")
    os.makedirs(data, exist_ok=True)
    for name, title, x, y, points, args, value, fresh in [
        ("size", "Echo, 50 connections, 1 in flight", "payload, bytes", "MB/s", SIZES,
         "--connections 50 --size {x}", "mb_per_s", False),
        ("connections", "Echo of 64 B, 1 in flight", "connections", "messages/s", CONNECTIONS,
         "--connections {x} --size 64", "messages_per_s", False),
        ("depth", "Echo of 32 B, 50 connections", "messages in flight per connection", "messages/s", DEPTHS,
         "--connections 50 --size 32 --depth {x}", "messages_per_s", False),
        ("memory", "User memory of idle connections", "connections", "bytes", IDLE,
         "--mode idle --connections {x} --duration 0.1", "anonymous_kb", True),
    ]:
        lines = series(bench, name, points, args, value, fresh)
        if name == "memory":
            lines = {server: [(px, py * 1024) for px, py in line] for server, line in lines.items()}
        report.plot(os.path.join(data, name), os.path.join(directory, f"{name}.svg"), title, x, y, lines)


# --- the command line --------------------------------------------------------------------------------


def parse_options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(ROOT, "build"), help="where `make` put the programs")
    p.add_argument("--socketio", action="store_true", help="compare with npm socket.io, as Socket.IO clients")
    p.add_argument("--profile", action="store_true", help="ask perf where the time of raw and minnow goes instead")
    p.add_argument("--quick", action="store_true", help="two minutes: shorter runs, fewer connections, no plots")
    p.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND",
                   help="one more server on 127.0.0.1; {port} and {mode} (echo or chat) are filled in")
    p.add_argument("--servers", help="only these, by name, as a,b,c (what the ratios refer to is always there)")
    p.add_argument("--only", default="", metavar="PATTERN", help="only workloads whose title matches")
    p.add_argument("--rounds", type=int, default=0)
    p.add_argument("--warmup", type=float, default=0)
    p.add_argument("--duration", type=float, default=0)
    p.add_argument("--server-core", type=int, default=0, help="-1: not pinned")
    p.add_argument("--load-core", type=int, default=1, help="-1: not pinned")
    p.add_argument("--realtime", action="store_true",
                   help="go ahead of all other work on the machine (needs root); for a machine that is shared")
    p.add_argument("--plots", action="store_true", help="draw the plots also after a partial run")
    p.add_argument("--write", action="store_true", help="write docs/performance.md also after a partial run")
    o = p.parse_args()
    o.command = command_line(o)
    o.build = os.path.abspath(o.build)
    # Many short rounds are better than few long ones: disturbances come and go within seconds.
    o.rounds = o.rounds or (3 if o.quick else 11)
    o.warmup = o.warmup or 0.1
    o.duration = o.duration or (0.25 if o.quick else 0.4)
    # node needs 3 s until it has compiled its code; before, a message costs up to three times as much.
    o.compile_time = 1 if o.quick else 4
    if len(os.sched_getaffinity(0)) < 2:
        print("run.py: one core only: server and load disturb each other", file=sys.stderr)
        o.server_core = o.load_core = -1
    o.full = not (o.quick or o.only or o.servers)
    o.servers = o.servers or ("raw,minnow" if o.profile else None)
    if o.profile and o.realtime:
        p.error("--profile and --realtime do not go together: perf's clock would have to wait")
    return o


def command_line(o):
    """The command line, without the paths of the peers on this machine."""
    words = ["bench/run.py"]
    for word in sys.argv[1:]:
        hidden = [peer for peer in o.peer if word.endswith(peer)]
        words.append(f"{word.split('=', 1)[0]}=..." if hidden and "--peer=" not in word else word)
    skip = {"--build", o.build}
    return " ".join(word for word in words if word not in skip)


def choose_servers(o):
    servers = socketio_servers(o.build) if o.socketio else built_in_servers(o.build)
    peers = [Server(*peer.split("=", 1), "socketio" if o.socketio else "ws") for peer in o.peer]
    servers[2:2] = peers
    if o.servers:
        wanted = o.servers.split(",") + ["socket.io" if o.socketio else "raw"] + [p.name for p in peers]
        unknown = set(wanted) - {s.name for s in servers}
        if unknown:
            sys.exit(f"run.py: no server {', '.join(unknown)}")
        servers = [s for s in servers if s.name in wanted]
    return servers


def write_all(bench, tables):
    """docs/performance.md, and for a full run the plots beside it."""
    o = bench.options
    if (o.full and not o.socketio and not o.profile) or o.plots:
        plots(bench)
    if o.full or o.write:
        made_by = "make bench" + (" BENCH=socketio" if o.socketio else " BENCH=profile" if o.profile else "")
        report.write_document(os.path.join(ROOT, "docs", "performance.md"), tables, made_by)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # runs the `finally` that ends the servers
    options = parse_options()
    bench = Bench(options, choose_servers(options))
    workloads = SOCKETIO_WORKLOADS if options.socketio else WORKLOADS
    chosen = [w for w in workloads if re.search(options.only, w.title, re.I)]
    tables = profiles(bench, chosen) if options.profile else comparison(bench, chosen)
    print(tables)
    write_all(bench, tables)
    bench.say("done")


def profiles(bench, chosen):
    rows = [(report.title(bench, w), bench.profile(server, w)) for w in chosen if w.ratio for server in bench.servers]
    return profile.tables(bench, rows)


def comparison(bench, chosen):
    options = bench.options
    results = {}
    for number, w in enumerate(chosen):
        # Each workload has a share of the two minutes, or a minute and a half, and begins no round after that: a
        # slow machine makes fewer rounds.
        share = 100 * (number + 1) / len(chosen)
        until = bench.start + share if options.quick else time.monotonic() + 90
        results[w.key] = bench.workload(w, until)
    if options.socketio:
        return report.socketio_tables(bench, chosen, results)
    rate = bench.workload(RATE) if options.full else {}
    starts = bench.starts() if re.search(options.only, "start and size", re.I) else {}
    return report.tables(bench, chosen, results, (RATE, rate), starts)


if __name__ == "__main__":
    main()
