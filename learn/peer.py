"""Both ends of a connection, as check.py, captures.py and the tests of the exercises play them: a program of the course
as a process, and a client with the frames it sends."""
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 §1.3
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MASK = bytes.fromhex("37fa213d")  # of RFC 6455 §5.7
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN = 0x80


# --- the bytes of a client --------------------------------------------------------------------------------------------

def masking(data, key=MASK):
    return bytes(b ^ key[i % 4] for i, b in enumerate(data))


def frame(first, payload=b"", key=MASK, form=0):
    """A frame of a client, masked unless the key is empty. `form`: 126 or 127 for a length longer than it has to be."""
    n = len(payload)
    form = form or (n if n < 126 else 126 if n < 65536 else 127)
    bit = 0x80 if key else 0
    extended = struct.pack("!H", n) if form == 126 else struct.pack("!Q", n) if form == 127 else b""
    return bytes([first, bit | form]) + extended + key + (masking(payload, key) if key else payload)


def request(path="/", *fields, without=()):
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1:8080", "Upgrade: websocket", "Connection: Upgrade",
             f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]
    lines = [line for line in lines if line.split(":")[0] not in without] + list(fields)
    return "".join(line + "\r\n" for line in lines).encode() + b"\r\n"


# --- the server -------------------------------------------------------------------------------------------------------

class NotListening(Exception):
    """A program that does not listen on the port it was given."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens_at(port):
    """The address on which a socket listens there, else None. The kernel is asked: to connect would be one client more.
    Of IPv6, ::1 is meant; who listens on all addresses has 127.0.0.1, too."""
    for table, address, host in (("tcp", "[0-9A-F]{8}", "127.0.0.1"), ("tcp6", "0{32}", "127.0.0.1"),
                                 ("tcp6", "0{24}01000000", "::1")):
        path = pathlib.Path("/proc/net", table)
        if path.exists() and re.search(rf"^ *\d+: {address}:{port:04X} \S+ 0A ", path.read_text(), re.MULTILINE):
            return host
    return None


class Server:
    """A program of the course as a process, on a free port.

    strace       its system calls of these names are recorded, as in "read,write"; calls() has them. Not every machine
                 has each of them: epoll_wait may be epoll_pwait
    descriptors  so many it may have open
    keep_stderr  what it writes there is not shown; stderr() has it
    """

    def __init__(self, binary, *arguments, strace=None, descriptors=None, keep_stderr=False):
        self.host = None
        self.errors = tempfile.TemporaryFile() if keep_stderr else None  # pylint: disable=consider-using-with
        self.trace = tempfile.NamedTemporaryFile() if strace else None  # pylint: disable=consider-using-with
        before = []
        if strace:  # with ? a name may be unknown
            before = ["strace", "-f", "-o", self.trace.name, "-e", "trace=?" + strace.replace(",", ",?"), "--"]
        if descriptors:
            before = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *before]
        self.ended_itself = False
        for _ in range(3):  # somebody else may take the port before the program does
            self.port = free_port()
            # a group of its own, as a killed strace leaves its program alone
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [*before, binary, str(self.port), *arguments], stderr=self.errors, start_new_session=True,
                env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # strace and LeakSanitizer exclude each other
            if self.listens():
                return
            self.kill()
        raise NotListening(f"it does not listen on the port of its first argument; {self.stderr()}".rstrip("; "))

    def listens(self):
        for _ in range(200):
            if self.process.poll() is not None:
                return False
            self.host = listens_at(self.port)
            if self.host is not None:
                return True
            time.sleep(0.02)
        return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """End it, and what strace runs. `ended_itself` tells whether it had ended before."""
        self.ended_itself = self.ended_itself or self.process.poll() is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def ends_within(self, seconds):
        """Its exit status, or None when it still runs."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stderr(self):
        if self.errors is None:
            return ""
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "replace").strip()

    def cpu_seconds(self):
        """Of user and of system."""
        fields = pathlib.Path("/proc", str(self.process.pid), "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def calls(self):
        """The lines of strace so far, without the number of the process."""
        return [line.split(maxsplit=1)[1] for line in pathlib.Path(self.trace.name).read_text("utf-8").splitlines()]


# --- the client -------------------------------------------------------------------------------------------------------

class Client:
    """A WebSocket that sends and reads frames. `head` is the answer to its request. `source`: its address."""

    def __init__(self, server, path="/", receive_buffer=None, fields=(), timeout=5, source=None):
        self.socket = connect(server, receive_buffer, timeout, source)
        self.socket.sendall(request(path, *fields))
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.exactly(1)
        self.head = head.decode("latin-1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data, first=FIN | TEXT):
        self.socket.sendall(frame(first, data))

    def next_frame(self):
        """The first byte and the payload of the next frame; None: nothing came, or the connection has ended."""
        try:
            first, length = self.exactly(2)
            if length >= 126:
                length = int.from_bytes(self.exactly(2 if length == 126 else 8), "big")
            return first, self.exactly(length)
        except OSError:
            return None

    def receive(self):
        """The payload of the next frame; None: nothing came, or the connection has ended."""
        came = self.next_frame()
        return came and came[1]

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise OSError("the connection has ended")
            data += more
        return data

    def ends_within(self, seconds):
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(4096):
                pass
            return True
        except socket.timeout:
            return False
        except OSError:
            return True


def connect(server, receive_buffer=None, timeout=5, source=None):
    """A TCP connection, with nothing sent yet. The server may be anything that has a port. `source`: the address it
    comes from."""
    host = getattr(server, "host", "127.0.0.1")
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(timeout)
    if source:
        s.bind((source, 0))
    s.connect((host, server.port))
    return s


def shown(data):
    """Bytes for a reason: as they are, or how many when they are many."""
    return repr(data)[1:] if len(data) < 60 else f"{len(data)} bytes ({data[:16]!r} ...)"


def until_end(s, seconds):
    """What comes on a socket until its end, and whether the end came within the time. RST counts as an end."""
    data, deadline = b"", time.monotonic() + seconds
    try:
        while (left := deadline - time.monotonic()) > 0:
            s.settimeout(left)
            more = s.recv(65536)
            if not more:
                return data, True
            data += more
        return data, False
    except socket.timeout:
        return data, False
    except OSError:
        return data, True
