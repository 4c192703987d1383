"""Chapter 4: frames."""
import base64
import binascii
import hashlib
import re
import socket
import subprocess
import threading
import time

from attempt import Exercise, named, sanitizer_line
from peer import BINARY, FIN, GUID, MASK, TEXT, Client, frame, masking, shown

LEVEL = ("--level", "frames")


# --- 1 ----------------------------------------------------------------------------------------------------------------

def break_it(attempt):
    for number, count, sign, what in ((1, 5, "frames/together/2", "if in place of while"),
                                      (3, 72, "frames/length/text-126", "the lowest byte first")):
        failed = attempt.failing(*LEVEL, defines=(f"BROKEN={number}",), timeout=1)
        if len(failed) != count or sign not in failed:
            return f"with -DBROKEN={number}, {what}, {count} cases should fail; {named(failed)}"
    with attempt.server(defines=("BROKEN=2",), may_crash=True) as server:
        try:
            with Client(server) as client:
                client.socket.sendall(frame(FIN | BINARY, b"a" * 65536)[:10])
                time.sleep(0.1)
                client.send(b"x")
                client.next_frame()
        except OSError:
            pass
        if server.ends_within(0.5) is None:
            return "with -DBROKEN=2, a part of a frame should end the server, and it lives"
    return attempt.lacks(*LEVEL)


# --- 2 ----------------------------------------------------------------------------------------------------------------

def one_call(attempt):
    payloads = [b"Hello", b"a" * 1000, b"b" * 70000, b""]
    with attempt.server(strace="write,writev,sendto,sendmsg,sendmmsg") as server:
        with Client(server) as client:
            time.sleep(0.05)
            before = len(server.calls())
            for payload in payloads:
                client.send(payload, FIN | BINARY)
                came = client.receive()
                if came != payload:
                    return f"{shown(payload)} came back as {shown(came or b'')}"
            time.sleep(0.05)
            calls = [call for call in server.calls()[before:] if not call.startswith(("+++", "---"))]
    if len(calls) != len(payloads):
        return f"strace saw {len(calls)} calls for {len(payloads)} frames"
    others = [call for call in calls if not re.match("writev|sendmsg", call)]
    if others:
        return f"one call, but {others[0].split('(')[0]}() of a copy: writev() takes header and payload from two places"
    return attempt.lacks(*LEVEL)


# --- 3 ----------------------------------------------------------------------------------------------------------------

def header_first(attempt):
    with attempt.server() as server:
        for length in (1 << 20, 131072, (1 << 63) - 1, (1 << 64) - 1):
            with Client(server) as client:
                client.socket.sendall(b"\x82\xff" + length.to_bytes(8, "big") + MASK)
                if not client.ends_within(1):
                    return f"the header of a frame of {length} bytes has come, and it is not refused"
        with Client(server) as client:
            client.socket.sendall(b"\x82\xff\0\0")
            if client.ends_within(0.2):
                return "the header of a frame has not come whole, and the connection is ended"
        with Client(server) as client:
            longest = b"a" * (128 * 1024 - 14)
            client.send(longest, FIN | BINARY)
            if client.receive() != longest:
                return f"a frame with a payload of {len(longest)} bytes just fits into the buffer, and is not sent back"
    return attempt.lacks(*LEVEL)


# --- 4 ----------------------------------------------------------------------------------------------------------------

class Seen:
    """A server for one client: what it has sent, and what was wrong with it."""

    def __init__(self, wrong_accept=False):
        self.wrong_accept, self.fault, self.key, self.mask, self.frames = wrong_accept, None, None, None, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(2)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        try:
            self.connection, _ = self.listener.accept()
        except socket.timeout:
            self.fault = "it does not connect to 127.0.0.1 and the port of its first argument"
            return
        finally:
            self.listener.close()
        with self.connection as s:
            s.settimeout(2)
            try:
                self.handshake(s)
                if self.fault is None:
                    self.echo(s)
            except socket.timeout:
                self.fault = self.fault or ("it has sent no whole frame" if self.key else "it has sent no whole head")
            except OSError as fault:
                self.fault = self.fault or f"it has ended the connection too early ({fault})"

    def handshake(self, s):
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.exactly(s, 1)
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.key = fields.get("sec-websocket-key", "")
        if not re.fullmatch(r"GET /\S* HTTP/1\.1", lines[0]):
            self.fault = f"the first line of its request is {lines[0]!r}"
        for name, value in (("host", "127.0.0.1"), ("upgrade", "websocket"), ("connection", "upgrade"),
                            ("sec-websocket-version", "13")):
            if value not in fields.get(name, "").lower():
                self.fault = f"its request has no field {name} with {value}"
        if fields.get("host", "").rpartition(":")[2] != str(self.port):
            self.fault = "its field Host does not have the port"
        if not is_key(self.key):
            self.fault = f"its Sec-WebSocket-Key {self.key!r} is not the base64 of 16 bytes"
        digest = hashlib.sha1(((self.key if not self.wrong_accept else "x") + GUID).encode()).digest()
        answer = ("HTTP/1.1 101 Switching Protocols\r\nUPGRADE: WebSocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n").encode()
        s.sendall(answer[:20])
        time.sleep(0.02)
        s.sendall(answer[20:])

    def echo(self, s):
        first, second = self.exactly(s, 2)
        self.frames += 1
        length = second & 0x7f
        if length >= 126:
            length = int.from_bytes(self.exactly(s, 2 if length == 126 else 8), "big")
        if first != FIN | TEXT:
            self.fault = f"the first byte of its frame is {first:02x}, not 81"
        elif not second & 0x80:
            self.fault = "its frame is not masked"
        else:
            self.mask = self.exactly(s, 4)
            payload = masking(self.exactly(s, length), self.mask)
            answer = frame(FIN | TEXT, payload, key=b"")
            for piece in (answer[:1], answer[1:3], answer[3:50], answer[50:]):  # as all that comes in a stream
                s.sendall(piece)
                time.sleep(0.01)
            s.settimeout(0.5)
            try:
                while s.recv(4096):  # a Close, perhaps, until it ends
                    pass
            except OSError:
                pass

    @staticmethod
    def exactly(s, count):
        data = b""
        while len(data) < count:
            more = s.recv(count - len(data))
            if not more:
                raise OSError("it sent FIN")
            data += more
        return data


def is_key(key):
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def run_client(binary, text, **options):
    """One run of the student's client: what the server has seen, what it printed, its exit status."""
    seen = Seen(**options)
    try:
        run = subprocess.run([binary, str(seen.port), text], capture_output=True, encoding="utf-8", errors="replace",
                             timeout=3, check=False)
        out, status, errors = run.stdout, run.returncode, run.stderr
    except subprocess.TimeoutExpired:
        out, status, errors = "", None, ""
    seen.thread.join()
    return seen, out, status, errors


def a_client(attempt):
    binary, runs = attempt.binary(), []
    for text in ("Hello", "Hello", "ä" * 100, "x" * 70000):
        seen, out, status, errors = run_client(binary, text)
        runs.append(seen)
        if seen.fault or sanitizer_line(errors):
            return sanitizer_line(errors) or seen.fault
        if status is None:
            return "it has got the answer and does not end"
        if out.rstrip("\n") != text:
            return f"the answer was {shown(text.encode())}, it printed {shown(out.encode())}"
        if status != 0:
            return f"all went well, and its exit status is {status}"
    if runs[0].key == runs[1].key:
        return f"its key was {runs[0].key} in two runs: it has to be random"
    if runs[0].mask == runs[1].mask:
        return f"its masking key was {runs[0].mask.hex(' ')} in two runs: it has to be random"
    seen, _, status, _ = run_client(binary, "Hello", wrong_accept=True)
    if seen.frames > 0 or status in (0, None):
        return "when Sec-WebSocket-Accept is wrong, it should send no frame and end with a status that is not 0"
    return None


EXERCISES = [
    Exercise(1, "break it, three times", break_it),
    Exercise(2, "one call to send", one_call),
    Exercise(3, "read the header first", header_first),
    Exercise(4, "a client", a_client, file="client.c"),
]
