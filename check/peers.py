#!/usr/bin/env python3
"""What do the WebSocket servers that people use score?

    check/peers.py [--failures] [--strict] [NAME ...]

Starts each server as an echo on 127.0.0.1, runs ./wscheck against it, and prints a Markdown table with the results for
each level as passed/failed/warned/skipped. --failures also lists the cases that failed; --strict ends with status 1 when
there is one, or a warning. `make check-peers` installs and builds what this needs.
"""
import argparse
import collections
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEVELS = ["handshake", "frames", "messages", "closing", "utf8", "limits", "strict", "http"]
VERDICTS = ["pass", "fail", "warn", "skip"]
# Name, how its version is found, its command.
SERVERS = {
    "minnow": (["./minnow", "--version"], ["./minnow", "echo", "-q", "-p", "{port}"]),
    "ws": (["node", "-p", "require('./bench/node_modules/ws/package.json').version"],
           ["node", "bench/peers/ws.js", "{port}", "echo"]),
    "websocket": (["node", "-p", "require('./tests/e2e/node_modules/websocket/package.json').version"],
                  ["node", "check/peers/websocket.js", "{port}"]),
    "libwebsockets": (["dpkg-query", "-W", "-f", "${Version}", "libwebsockets-dev"],
                      ["build/bench/lws", "{port}", "echo"]),
    "websockets": (["dpkg-query", "-W", "-f", "${Version}", "python3-websockets"],
                   ["/usr/bin/python3", "bench/peers/websockets_server.py", "{port}", "echo"]),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing listens on port {port}")


def run(name):
    """The report of wscheck as JSON."""
    port = free_port()
    environment = dict(os.environ, NODE_PATH=str(ROOT / "tests/e2e/node_modules"))
    command = [word.format(port=port) for word in SERVERS[name][1]]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        check = subprocess.run(["./wscheck", "--format", "json", f"ws://127.0.0.1:{port}/"], cwd=ROOT,
                               stdout=subprocess.PIPE, check=False)
        return json.loads(check.stdout)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


def version(name):
    result = subprocess.run(SERVERS[name][0], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout.replace("minnow", "").strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("name", nargs="*", default=list(SERVERS))
    options = parser.parse_args()
    reports = {name: run(name) for name in options.name}
    print("| | " + " | ".join(f"{name} {version(name)}" for name in reports) + " |")
    print("|---" * (len(reports) + 1) + "|")
    for level in LEVELS + ["all"]:
        cells = []
        for report in reports.values():
            count = collections.Counter(case["verdict"] for case in report["cases"] if level in ("all", case["level"]))
            cells.append("/".join(str(count[verdict]) for verdict in VERDICTS))
        print(f"| {level} | " + " | ".join(cells) + " |")
    if options.failures:
        for name, report in reports.items():
            print(f"\n{name}:")
            for case in report["cases"]:
                if case["verdict"] in ("fail", "warn"):
                    print(f"  {case['verdict']} {case['name']}: {case.get('reason', '')}")
    if options.strict:
        verdicts = [case["verdict"] for report in reports.values() for case in report["cases"]]
        passed = verdicts.count("pass") + verdicts.count("skip")
        print(f"{passed} passed, {len(verdicts) - passed} failed")
        sys.exit(passed < len(verdicts))


if __name__ == "__main__":
    main()
