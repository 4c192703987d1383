#!/usr/bin/env python3
"""The bytes that the chapters show, played against the programs.

    learn/captures.py [--write] [--cc CC]

Each chapter has its captures between the lines <!-- capture NAME --> and <!-- end -->. Without --write, this script
compiles the programs, plays each exchange, and compares. It also checks that each block of C in a chapter is literally
in the program of that chapter, that the functions and files named in a chapter exist, that lines are counted right, and
that none of a chapter is too long. A translation, as 01_tcp_echo.zh-CN.md, is checked in the same way;
tests/translations.py compares it with its original.
Prints a line for each difference and exits with 1 when there is one. With --write it puts the captures into the
chapters.

What changes from run to run is not in the captures: the Host is always 127.0.0.1:8080, whatever the port is.
"""
import argparse
import base64
import concurrent.futures
import hashlib
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata

from peer import GUID, KEY, MASK, frame, masking, request

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent
COLUMNS = 100
OPCODES = {0: "continuation", 1: "text", 2: "binary", 8: "Close", 9: "Ping", 10: "Pong"}


# --- the dump ---------------------------------------------------------------------------------------------------------

def hexadecimal(data, most=8):
    return data[:most].hex(" ") + (" ..." if len(data) > most else "")


def quoted(data):
    """Bytes as text where they are text, for a note."""
    shown = data[:24 if len(data) <= 24 else 8].decode("utf-8", "replace").replace("\n", "\\n")
    if "\ufffd" in shown:
        return "not UTF-8 by itself"
    return f'"{shown}"' if len(data) <= 24 else f'"{shown} ..."'


def count(n):
    return "1 byte" if n == 1 else f"{n} bytes"


def frame_rows(data):
    """The fields of the frame at the start of `data`, as far as it goes: (bytes, what they are)."""
    first, second = data[0], data[1]
    opcode, masked, length, at = first & 0x0f, second & 0x80, second & 0x7f, 2
    bits = (["FIN"] if first & 0x80 else []) + [f"RSV{i + 1}" for i in range(3) if first & 0x40 >> i]
    name = OPCODES.get(opcode, "reserved")
    rows = [(hexadecimal(data[:1]), f"{', '.join(bits) or 'no FIN'}; opcode {opcode}: {name}")]
    more = {126: 2, 127: 8}.get(length, 0)
    says = f"{length}: the length is in the next {more} bytes" if more else f"payload of {count(length)}"
    rows.append((hexadecimal(data[1:2]), f"{'masked' if masked else 'not masked'}; {says}"))
    if more:
        length = int.from_bytes(data[at:at + more], "big")
        rows.append((hexadecimal(data[at:at + more]), f"payload of {count(length)}"))
        at += more
    key = b""
    if masked:
        key = data[at:at + 4]
        rows.append((hexadecimal(key), "the masking key"))
        at += 4
    payload = data[at:at + length]
    if payload:
        plain = masking(payload, key) if masked else payload
        means = f"status {int.from_bytes(plain[:2], 'big')}" if opcode == 8 and length > 1 else quoted(plain)
        if opcode == 8 and length > 2:
            means += f", reason {quoted(plain[2:])}"
        if masked:
            means = f"xor key: {hexadecimal(plain, 5)}, {means}"
        rows.append((hexadecimal(payload), means))
    return rows


class Recording:
    """What happens in one capture, line by line."""

    def __init__(self, binary, *arguments, descriptors=None):
        self.lines = []
        self.clients = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

        def limit():
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        # pylint: disable-next=subprocess-popen-preexec-fn,consider-using-with
        self.process = subprocess.Popen([binary, str(self.port), *arguments], stderr=subprocess.PIPE,
                                        preexec_fn=limit)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        time.sleep(0.1)  # that connection ends

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for c in self.clients:
            c.socket.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stderr.close()

    def client(self, name="client", path=None, **options):
        c = Client(self, name, **options)
        self.clients.append(c)
        if path is not None:
            c.silent(request(path))
        return c

    def say(self, who, rows):
        for i, (left, note) in enumerate(rows):
            line = f"{who if i == 0 else '':13}" + (f"{left:28}{note}" if note else left)
            self.lines.append(line.rstrip())

    def server_ends(self):
        """How the server has ended."""
        try:
            code = self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.say("server", [("runs on", "")])
            return
        text = self.process.stderr.read().decode().strip()
        how = f"is killed by {signal.Signals(-code).name}" if code < 0 else f"exits with status {code}"
        self.say("server", [(how + (f": {text}" if text else ""), "")])

    def text(self):
        return "\n".join(self.lines)


class Client:
    """A TCP client whose bytes are recorded."""

    def __init__(self, recording, name, receive_buffer=None):
        self.recording, self.name = recording, name
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(5)
        self.socket.connect(("127.0.0.1", recording.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def says(self, verb, rows):
        self.recording.say(f"{self.name} {verb}", rows)

    def silent(self, data):
        """The handshake, which is shown elsewhere."""
        self.socket.sendall(data)
        self.head()

    def head(self):
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(1)
            if not more:
                break
            data += more
        return data

    # Each of these sends or receives, and records it.

    def sends(self, data, note=None):
        note = note or quoted(data) + (f", {len(data)} bytes" if len(data) > 24 else "")
        self.says("sends", [(hexadecimal(data), note)])
        self.socket.sendall(data)
        time.sleep(0.1)  # so that the pieces are pieces for the server, too

    def sends_frames(self, *frames):
        """All in one segment."""
        for i, one in enumerate(frames):
            self.recording.say(f"{self.name} sends" if i == 0 else "", frame_rows(one))
        self.socket.sendall(b"".join(frames))

    def sends_head(self, data, show=None):
        """`show`: only the lines that begin so."""
        lines = data.decode("latin-1").split("\r\n")[:-1]
        lines = [line.replace("\0", "\\0") + "\\r\\n" for line in lines]
        if show:
            lines = [line for line in lines if line.startswith(show)]
            lines[-1] += " ..."
        self.says("sends", [(line, "") for line in lines])
        self.socket.sendall(data)

    def gets_head(self, lines=99):
        rows = [line + "\\r\\n" for line in self.head().decode("latin-1").split("\r\n")[:-1]]
        if len(rows) > lines:
            rows = [*rows[:lines - 1], rows[lines - 1] + " ..."]
        self.says("gets", [(row, "") for row in rows])

    def gets(self, n):
        try:
            data = self.socket.recv(n)
        except ConnectionResetError:
            self.says("gets", [("RST", "the connection is lost")])
            return
        self.says("gets", [(hexadecimal(data), quoted(data))] if data else [("FIN", "")])

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def gets_frame(self, record=True):
        data = self.exactly(2)
        more = {126: 2, 127: 8}.get(data[1], 0)
        data += self.exactly(more)
        data += self.exactly(int.from_bytes(data[2:], "big") if more else data[1])
        if record:
            self.says("gets", frame_rows(data))

    def gets_nothing(self, seconds=0.5):
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1)
            self.says("gets", [(hexadecimal(data), "?")])
        except TimeoutError:
            self.says("waits", [(f"{round(seconds * 1000)} ms: nothing comes", "")])
        self.socket.settimeout(5)

    def gets_end(self, least=0, most=5):
        """FIN or RST; how long it took has to be in these limits, and only they are recorded."""
        start = time.monotonic()
        self.socket.settimeout(most + 5)
        try:
            while self.socket.recv(65536):
                pass
            how = "FIN"
        except ConnectionResetError:
            how = "RST"
        took = time.monotonic() - start
        if not least <= took <= most:
            how += f" after {took:.1f} s"
        self.says("gets", [(how, f"after {least} to {most} s" if least else "")])

    def shuts_down(self):
        self.says("sends", [("FIN", "")])
        self.socket.shutdown(socket.SHUT_WR)

    def closes(self, quiet=False):
        if not quiet:
            self.says("closes", [("", "")])
        self.socket.close()


# --- the captures -----------------------------------------------------------------------------------------------------

CAPTURES = {}


def capture(step, *arguments, **options):
    """Registers a function that plays its part on a recording of that step."""

    def register(play):
        def run(directory):
            with Recording(os.path.join(directory, step), *arguments, **options) as r:
                play(r)
                return r.text()

        CAPTURES[play.__name__.replace("_", "-")] = run
        return play

    return register


@capture("01_tcp_echo")
def echo(r):
    c = r.client()
    c.sends(b"hello\n")
    c.gets(100)
    c.shuts_down()
    c.gets(100)


@capture("01_tcp_echo")
def no_borders(r):
    c = r.client()
    c.sends(b"hel")
    c.sends(b"lo\n")
    c.gets(100)


@capture("01_tcp_echo")
def second_waits(r):
    alice, bob = r.client("Alice"), r.client("Bob")
    bob.sends(b"hello\n")
    bob.gets_nothing()
    alice.closes()
    bob.gets(100)


@capture("01_tcp_echo")
def broken_pipe(r):
    alice, bob = r.client("Alice"), r.client("Bob")
    bob.sends(b"x" * 10000)
    bob.closes()
    time.sleep(0.2)
    alice.closes()
    r.server_ends()


@capture("02_epoll")
def two_at_once(r):
    alice, bob = r.client("Alice"), r.client("Bob")
    bob.sends(b"hello\n")
    bob.gets(100)
    alice.sends(b"hi\n")
    alice.gets(100)


@capture("02_epoll")
def broken_pipe_ignored(r):
    r.process.send_signal(signal.SIGSTOP)
    r.say("server", [("is stopped (SIGSTOP)", "")])
    bob = r.client("Bob")
    bob.sends(b"x" * 10000)
    bob.closes()
    r.process.send_signal(signal.SIGCONT)
    r.say("server", [("goes on (SIGCONT)", "")])
    alice = r.client("Alice")
    alice.sends(b"hello\n")
    alice.gets(100)


@capture("02_epoll")
def not_http(r):
    c = r.client()
    c.sends_head(request())
    time.sleep(0.1)
    c.gets_head(2)


@capture("03_handshake")
def handshake(r):
    c = r.client()
    c.sends_head(request())
    c.gets_head()


def accept(_):
    """How the answer is computed; no server is needed."""
    digest = hashlib.sha1((KEY + GUID).encode()).digest()
    return "\n".join([f"key, as it was sent   {KEY}", f"the GUID behind it    {GUID}",
                      f"SHA-1 of both         {digest.hex(' ')}",
                      f"that in base64        {base64.b64encode(digest).decode()}"])


CAPTURES["accept"] = accept


@capture("03_handshake")
def handshake_in_pieces(r):
    c = r.client()
    data = request()
    c.sends(data[:9])
    c.gets_nothing()
    c.sends(data[9:-1], "... all but the last byte")
    c.gets_nothing()
    c.sends(data[-1:])
    c.gets_head(1)


@capture("03_handshake")
def wrong_version(r):
    c = r.client()
    old = request("/", "Sec-WebSocket-Version: 8", without=["Sec-WebSocket-Version"])
    c.sends_head(old, ("GET", "Sec-WebSocket-V"))
    c.gets_head()
    c.gets(100)


@capture("03_handshake")
def frame_unheard(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x81, b"Hello"))
    c.gets_nothing()


@capture("04_frames")
def hello(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x81, b"Hello"))
    c.gets_frame()


@capture("04_frames")
def lengths(r):
    c = r.client(path="/")
    for n in (125, 126, 65536):
        c.says("sends", [(f"a binary message of {n} bytes", "")])
        c.socket.sendall(frame(0x82, b"a" * n))
        c.gets_frame()


@capture("04_frames")
def frame_in_pieces(r):
    c = r.client(path="/")
    data = frame(0x81, b"Hello")
    for piece, note in ((data[:1], "the first byte"), (data[1:4], "the length, half of the key"),
                        (data[4:-1], "the rest of it, and the payload but for a byte")):
        c.sends(piece, note)
        c.gets_nothing(0.2)
    c.sends(data[-1:], "the last byte")
    c.gets_frame()


@capture("04_frames")
def frames_together(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x81, b"a"), frame(0x81, b"b"))
    c.gets_frame()
    c.gets_frame()


@capture("04_frames")
def fragments_apart(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x01, b"Hel"), frame(0x80, b"lo"))
    c.gets_frame()
    c.gets_frame()


@capture("05_messages")
def fragments(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x01, b"Hel"))
    c.sends_frames(frame(0x89, b"?"))
    c.gets_frame()
    c.sends_frames(frame(0x80, b"lo"))
    c.gets_frame()


@capture("05_messages")
def closing(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x88, struct.pack("!H", 1000) + b"bye"))
    c.gets_frame()
    c.gets(100)
    c.shuts_down()


@capture("05_messages")
def close_behind(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x88, struct.pack("!H", 1000)), frame(0x82, b"a" * 200000))
    time.sleep(0.2)
    c.gets_frame()
    c.gets(100)


@capture("05_messages")
def not_utf8(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x81, b"\xff"))
    c.gets_frame()


@capture("06_strict")
def unmasked(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x81, b"Hello", key=b""))
    c.gets_frame()


@capture("06_strict")
def long_form(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x81, b"Hello", form=126))
    c.gets_frame()


@capture("06_strict")
def claim(r):
    c = r.client(path="/")
    c.sends_frames(b"\x82\xff" + struct.pack("!Q", 1 << 40) + MASK)
    c.gets_frame()


@capture("06_strict")
def euro_cut(r):
    c = r.client(path="/")
    c.sends_frames(frame(0x01, b"\xe2\x82"), frame(0x80, b"\xac"))
    c.gets_frame()
    c.sends_frames(frame(0x01, b"\xe2\x28"))
    c.gets_frame()


@capture("06_strict")
def only_an_echo(r):
    alice, bob = r.client("Alice", "/tea"), r.client("Bob", "/tea")
    alice.sends_frames(frame(0x81, b"hi"))
    alice.gets_frame()
    bob.gets_nothing()


@capture("07_chat")
def rooms(r):
    alice, bob, carol = r.client("Alice", "/tea"), r.client("Bob", "/tea"), r.client("Carol", "/coffee")
    alice.sends_frames(frame(0x81, b"hi"))
    alice.gets_frame()
    bob.gets_frame()
    carol.gets_nothing()


def flood(alice, most=400):
    """Alice sends 60,000 bytes again and again, and reads what comes back. How often it worked."""
    alice.socket.settimeout(1)
    data = frame(0x82, bytes(60000))
    for i in range(most):
        try:
            alice.socket.sendall(data)
            alice.gets_frame(record=False)
        except OSError:
            return i
    return most


@capture("07_chat")
def blocked(r):
    bob = r.client("Bob", "/tea", receive_buffer=4096)
    alice, carol = r.client("Alice", "/tea"), r.client("Carol", "/coffee")
    bob.says("reads", [("nothing any more", "")])
    done = flood(alice)
    alice.says("sends", [("60,000 bytes, again and again, " + ("400 times" if done == 400 else
                         "until nothing comes back"), "")])
    carol.sends_frames(frame(0x81, b"hi"))
    carol.gets_nothing(1)


@capture("08_backpressure")
def not_blocked(r):
    bob = r.client("Bob", "/tea", receive_buffer=4096)
    alice, carol = r.client("Alice", "/tea"), r.client("Carol", "/coffee")
    bob.says("reads", [("nothing any more", "")])
    done = flood(alice)
    alice.says("sends", [(f"60,000 bytes, {done} times, and gets each of them back", "")])
    carol.sends_frames(frame(0x81, b"hi"))
    carol.gets_frame()
    bob.says("reads", [("what has come", "")])
    bob.gets_end()


@capture("08_backpressure")
def half_a_request(r):
    c = r.client()
    c.sends(b"GET / HTTP")
    c.gets_nothing(2)


@capture("09_deadlines", "1")
def ping(r):
    c = r.client(path="/tea")
    start = time.monotonic()
    c.gets_frame()
    r.say("", [("after 1 to 3 s" if 0.9 < time.monotonic() - start < 3 else "too early or late", "")])
    c.sends_frames(frame(0x8a))
    c.gets_frame()


@capture("09_deadlines", "1")
def silent(r):
    c = r.client(path="/tea")
    c.gets_frame()
    c.gets_end(19, 23)


@capture("09_deadlines", "1")
def slow_head(r):
    c = r.client()
    start = time.monotonic()
    data = request()
    try:
        for byte in data[:30]:
            c.socket.sendall(bytes([byte]))
            time.sleep(0.5)
    except OSError:
        pass
    took = time.monotonic() - start
    c.says("sends", [("a byte of its request each 500 ms", "")])
    when = "10 to 13" if 9.5 < took < 13 else f"{took:.1f}"
    c.says("gets", [(f"the end of its connection, after {when} s", "")])


@capture("09_deadlines", "1")
def slow_but_alive(r):
    bob, alice = r.client("Bob", "/tea", receive_buffer=4096), r.client("Alice", "/tea")
    flood(alice, 60)
    alice.says("sends", [("60,000 bytes, 60 times", "")])
    start = time.monotonic()
    try:
        while time.monotonic() - start < 24:
            if not bob.socket.recv(2048):
                break
            bob.socket.sendall(frame(0x8a))
            time.sleep(0.1)
    except OSError:
        pass
    bob.says("reads", [("2048 bytes each 100 ms, and sends a Pong each time", "")])
    took = time.monotonic() - start
    bob.says("is", [("connected after 24 s" if took >= 24 else f"cut off after {took:.0f} s", "")])


@capture("09_deadlines", "30", descriptors=16)
def descriptors(r):
    try:
        for _ in range(20):
            r.client("client")
    except OSError:
        pass  # the server has ended already
    r.say("20 clients", [("connect; the server may have 16 descriptors", "")])
    r.server_ends()


@capture("10_hostile", "30", descriptors=16)
def descriptors_survived(r):
    many = [r.client("client") for _ in range(20)]
    r.say("20 clients", [("connect; the server may have 16 descriptors", "")])
    many[-1].gets(1)
    many[0].sends_head(request(), ("GET",))
    many[0].gets_head(1)


@capture("10_hostile", "30")
def origin(r):
    c = r.client()
    c.sends_head(request("/tea", "Origin: http://127.0.0.1:8080"), ("GET", "Host", "Origin"))
    c.gets_head(1)
    c = r.client()
    c.sends_head(request("/tea", "Origin: https://evil.example"), ("GET", "Host", "Origin"))
    c.gets_head(1)
    c.gets_end()


@capture("10_hostile", "30")
def two_readings(r):
    for field in ("Content-Length: 5", "Host : other.example", "X: a\r\n folded", "\0X: y"):
        c = r.client()
        c.sends_head(request("/tea", field), ("GET", "\\0", " folded", field.split(":", maxsplit=1)[0]))
        c.gets_head(1)


@capture("10_hostile", "30")
def absolute_form(r):
    alice, bob = r.client("Alice", "/tea"), r.client("Bob")
    bob.sends_head(request("http://127.0.0.1:8080/tea"), ("GET",))
    bob.gets_head(1)
    alice.sends_frames(frame(0x81, b"hi"))
    bob.gets_frame()


# --- the chapters -----------------------------------------------------------------------------------------------------

OF_LIBC = {"writev", "signalfd", "timerfd_create", "sendfile"}  # named in exercises, used nowhere here

BLOCK = re.compile(r"(<!-- capture ([a-z0-9-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def columns(line):
    """The width of a line: a Chinese character takes two columns."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def with_captures(text, texts, faults, name):
    def replaced(match):
        head, which, _, end = match.groups()
        if which not in texts:
            faults.append(f"{name}: no capture {which}")
            return match.group(0)
        return f"{head}```\n{texts[which]}\n```\n{end}"

    return BLOCK.sub(replaced, text)


def squeezed(text):
    return " ".join(text.split())


def wrong_quotes(text, program):
    """The blocks of C that are not in the program."""
    whole = squeezed(program)
    for block in re.findall(r"^```c\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if squeezed(block) not in whole:
            yield block.strip().split("\n", maxsplit=1)[0]


def sources():
    """Every C file of the project by name, and the text of all of them."""
    files = {str(p.relative_to(TOP)): p.read_text() for d in (".", "program", "socketio", "learn", "examples", "check")
             for p in (TOP / d).glob("*.[ch]")}
    return files, "\n".join(files.values())


def wrong_names(text, files, everything):
    """Functions and files that a chapter names and that are not there."""
    for function in set(re.findall(r"`(\w+)\(\)`", text)):
        if function not in OF_LIBC and not re.search(rf"\b{function}\(", everything):
            yield f"no function {function}()"
    for path in set(re.findall(r"`([\w/]+\.[ch])`", text)):
        if path not in files and f"learn/{path}" not in files:
            yield f"no file {path}"
    places = re.findall(r"`(\w+)\(\)`\s+in\s+`([\w/]+\.[ch])`", text)
    places += [(function, path) for path, function in re.findall(r"`([\w/]+\.[ch])`\s+中的\s+`(\w+)\(\)`", text)]
    for function, path in set(places):
        if path in files and not re.search(rf"^[a-z].*\b{function}\(", files[path], re.MULTILINE):
            yield f"no function {function}() in {path}"
    for link in set(re.findall(r"\]\((?!http)([^)#]+)\)", text)):
        if not (HERE / link).exists():
            yield f"no file {link}"


def stem(chapter):
    """01_tcp_echo for 01_tcp_echo.md and for 01_tcp_echo.zh-CN.md."""
    return chapter.name.split(".", maxsplit=1)[0]


def wrong_counts(chapter, text):
    """Counts of lines: "N lines" at the top of a chapter, and the last column of the table of the README."""
    steps = sorted(HERE.glob("[0-9][0-9]_*.c"))
    for before, step in zip([None, *steps], steps):
        new = step.read_text().splitlines()
        old = before.read_text().splitlines() if before else []
        if stem(chapter) == step.stem and not re.search(rf"\b{len(new)} (lines|行)", text):
            yield f"{step.name} has {len(new)} lines"
        if stem(chapter) == "README":
            diff = subprocess.run(["diff", before or "/dev/null", step], capture_output=True, text=True, check=False)
            added = sum(line.startswith(">") for line in diff.stdout.splitlines())
            if not re.search(rf"^\|[^\n]*`{step.name}`[^\n]* {added} \|$", text, re.MULTILINE):
                yield f"{step.name} adds {added} lines to its {len(old)}"


def play(run, directory, expected):
    """Plays a capture once more when it comes out in another way: on a busy machine times may be wrong."""
    text = ""
    for _ in range(3):
        try:
            text = run(directory)
        except (OSError, EOFError) as error:
            text = f"{type(error).__name__}: {error}"
        if text == expected:
            break
    return text


def shown():
    """The captures as they are in the chapters, in the originals if translations differ."""
    texts = {}
    for chapter in sorted(HERE.glob("*.md"), reverse=True):
        for match in BLOCK.finditer(chapter.read_text()):
            texts[match.group(2)] = match.group(3).strip("`\n")
    return texts


def play_all(cc):
    expected = shown()
    with tempfile.TemporaryDirectory() as directory:
        for program in sorted(HERE.glob("*.c")):
            subprocess.run([cc, "-std=gnu11", "-O2", "-o", os.path.join(directory, program.stem), program], check=True)
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            jobs = {name: pool.submit(play, run, directory, expected.get(name)) for name, run in CAPTURES.items()}
            return {name: job.result() for name, job in jobs.items()}


def finish(what, faults):
    for fault in faults:
        print(fault)
    print(f"{what}, {len(faults)} differences")
    sys.exit(bool(faults))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--cc", default="cc")
    options = parser.parse_args()
    texts = play_all(options.cc)
    files, everything = sources()
    faults, used = [], set()
    for chapter in sorted([*HERE.glob("[0-9][0-9]_*.md"), *HERE.glob("README*.md"), *HERE.glob("mistakes*.md")]):
        old = chapter.read_text()
        new = with_captures(old, texts, faults, chapter.name)
        used.update(match.group(2) for match in BLOCK.finditer(old))
        program = HERE / f"{stem(chapter)}.c"
        if program.exists():
            faults += [f"{chapter.name}: not in {program.name}: {line}"
                       for line in wrong_quotes(old, program.read_text())]
            faults += [f"{chapter.name}:{i}: {columns(line)} columns" for i, line in enumerate(new.split("\n"), 1)
                       if columns(line) > COLUMNS]
        wrong = [*sorted(wrong_names(old, files, everything)), *wrong_counts(chapter, old)]
        faults += [f"{chapter.name}: {fault}" for fault in wrong]
        if options.write:
            chapter.write_text(new)
        elif new != old:
            a, b = old.split("\n"), new.split("\n")
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            faults.append(f"{chapter.name}:{at + 1}: captures are not up to date; --write writes them")
    faults += [f"no chapter shows {name}" for name in CAPTURES if name not in used]
    finish(f"{len(CAPTURES)} captures", faults)


if __name__ == "__main__":
    main()
