#!/usr/bin/env python3
"""The recording of docs/walkthrough.md and learn/tools.md and of their translations, made anew.

    learn/walkthrough.py [--write]

Starts ./minnow under strace, plays the shell commands of the walkthrough as its client, and cuts what the three
programs print into the captures of the pages, between the lines <!-- capture NAME --> and <!-- end -->. Without
--write it compares and prints the first difference of each capture; then the exit status is 1. Ports, addresses in
memory and the time left until a deadline change from run to run: they may differ."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from captures import BLOCK, finish, with_captures

TOP = pathlib.Path(__file__).resolve().parent.parent
PAGE = TOP / "docs/walkthrough.md"
PAGES = [*sorted((TOP / "docs").glob("walkthrough*.md")), *sorted((TOP / "learn").glob("tools*.md"))]
PORT = 9000  # in the page
TRACE = ["strace", "-e", "trace=network,epoll_wait,epoll_ctl,close", "-o"]
TURNS = ["accepting", "request", "frame", "ping", "closing", "fin"]  # what each turn of the loop shows
BYTES = "minnow: #1    "  # begins a line of --trace=hex below that of its frame
CHANGES = re.compile(r"htons\(\d+\)|127\.0\.0\.1:\d+|u32=\d+|u64=\d+|0x[0-9a-f]+|, \d+\) = 1$", re.MULTILINE)


def record(commands):
    """What the client prints, what minnow prints, and the lines of strace."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    terminal, end = os.openpty()  # minnow opens it anew, so the numbers of descriptors are those of a reader
    with tempfile.TemporaryDirectory() as directory:
        trace = os.path.join(directory, "trace")
        with subprocess.Popen([*TRACE, trace, TOP / "minnow", "echo", "-p", str(port), "--trace=hex", "-v"], text=True,
                              stdin=end, stdout=end, stderr=end) as server:
            try:
                wait_for(trace, r"epoll_wait\(")
                client = subprocess.run(["bash", "-c", commands.replace(f"/{PORT}", f"/{port}")], cwd=directory,
                                        text=True, capture_output=True, check=True, timeout=20)
                wait_for(trace, r"(?s)shutdown\((\d+).*close\(\1\)")
            finally:
                traced = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
                os.kill(int(traced), signal.SIGTERM)
                server.wait()
        lines = pathlib.Path(trace).read_text().replace(f"htons({port})", f"htons({PORT})").splitlines()
    said = os.read(terminal, 65536).decode()
    os.close(terminal)
    os.close(end)
    return client.stdout.replace("\r", ""), said.replace("\r", ""), lines


def wait_for(path, pattern):
    for _ in range(100):
        if os.path.exists(path) and re.search(pattern, pathlib.Path(path).read_text()):
            return
        time.sleep(0.05)
    sys.exit(f"walkthrough.py: strace does not show {pattern}")


def turns(lines):
    """The lines about the listening socket and the connection: before the first wait, then for each turn of the loop
    the wait itself and what follows it."""
    text = "\n".join(lines)
    listening, connection = (re.search(p, text, re.MULTILINE).group(1) for p in (
        r"^listen\((\d+)", r"^accept4.* = (\d+)$"))
    made = next(i for i, line in enumerate(lines) if re.match(rf"socket\(.*= {listening}$", line))
    about = re.compile(rf"socket\(.*= {listening}$|\w+\(({listening}|{connection})[,)]|epoll_ctl\(\d+, \w+, "
                       rf"({listening}|{connection}),|epoll_wait\(.*= [1-9]$")
    parts = [[]]
    for line in lines[made:]:
        if not about.match(line) or (len(parts) == 1 and line.startswith("close(")):
            continue  # until the first wait, another file may have the number of the connection
        if line.startswith("epoll_wait("):
            parts.append([])
        parts[-1].append(line)
    return parts


def captures(commands):
    client, said, lines = record(commands)
    parts = turns(lines)
    log = [line for line in said.splitlines() if line.startswith("minnow: #1")]
    ping = next(i for i, line in enumerate(log) if "<- PING" in line)
    texts = {"client": client.rstrip("\n"), "hex": "\n".join(log[1:ping]),
             "log": "\n".join(line for line in log if not line.startswith(BYTES))}
    texts["listening"] = "\n".join([*parts[0], parts[1][0]])
    for i, name in enumerate(TURNS, 1):
        calls = parts[i] if name == "fin" else parts[i][1:]
        texts[name] = "\n".join([*calls, parts[i + 1][0]] if name == "accepting" else calls)
    return texts


def compare(page, texts, write):
    """The differences between the captures of a page and `texts`."""
    faults = []
    old = page.read_text()
    shown = {match.group(2): match.group(3).strip("`\n") for match in BLOCK.finditer(old)}
    new = with_captures(old, texts, faults, page.name)
    if write:
        page.write_text(new)
        return faults, shown
    for name, text in shown.items():
        pairs = zip(*(CHANGES.sub("*", t).split("\n") + ["the end"] for t in (text, texts.get(name, ""))))
        faults += [f"{page.name}: {name}: {a}: now {b}" for a, b in pairs if a != b][:1]
    return faults, shown


def main():
    commands = re.search(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE).group(1)
    texts = captures(commands)
    faults, used = [], set()
    for page in PAGES:
        wrong, shown = compare(page, texts, sys.argv[1:] == ["--write"])
        faults += wrong
        used |= set(shown)
    faults += [f"no page shows {name}" for name in texts if name not in used]
    finish(f"{len(used)} captures of the walkthrough", faults)


if __name__ == "__main__":
    main()
