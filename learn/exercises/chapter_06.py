"""Chapter 6: refuse what is wrong."""
import fnmatch
import pathlib
import re
import struct

from attempt import Exercise, named
from exercises.measure import memory_kib
from peer import BINARY, CLOSE, FIN, PING, PONG, TEXT, Client, frame

CONTINUATION, MIB = 0, 1 << 20
PARTS = ("strict/*", "utf8/*", "messages/*", "frames/*", "closing/*")  # level strict but for its slow cases


def break_it(attempt):
    """The comment says which cases fail."""
    match = re.search(r"^ *// *fails: *(\S.*)$", pathlib.Path(attempt.source).read_text("utf-8"), re.MULTILINE)
    if not match:
        return "no line says which cases fail, as: // fails: strict/control/ping-*"
    patterns = match[1].split()
    with attempt.server() as server:
        cases = {name: verdict for part in PARTS for name, verdict in attempt.grade(server, "--only", part).items()}
    failed = [name for name, verdict in cases.items() if verdict == "fail"]
    foreseen = [name for name in cases if any(fnmatch.fnmatchcase(name, p) for p in patterns)]
    surprising, missing = [n for n in failed if n not in foreseen], [n for n in foreseen if n not in failed]
    if surprising:
        return f"your comment does not name all: {named(surprising)}"
    if missing:
        return f"your comment names {len(missing)} that pass: {', '.join(missing[:3])}"
    return None if failed else "no case fails"


# What a client sends, with the status of the Close that it gets.
WRONG = [
    ("a text without a mask", frame(FIN | TEXT, b"Hello", key=b""), 1002),
    ("a reserved bit", frame(FIN | 0x40 | TEXT, b"Hello"), 1002),
    ("a length that is not minimal", frame(FIN | TEXT, b"Hello", form=126), 1002),
    ("opcode 3", frame(FIN | 3, b"Hello"), 1002),
    ("a fragment of a Ping", frame(PING), 1002),
    ("a Ping of 126 bytes", frame(FIN | PING, bytes(126)), 1002),
    ("a continuation of nothing", frame(FIN | CONTINUATION, b"Hello"), 1002),
    ("a text in a text", frame(TEXT, b"Hel") + frame(FIN | TEXT, b"lo"), 1002),
    ("a Close with status 1005", frame(FIN | CLOSE, struct.pack("!H", 1005)), 1002),
    ("a text that is not UTF-8", frame(FIN | TEXT, b"\xff"), 1007),
    ("a Close with a reason that is not UTF-8", frame(FIN | CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
    ("a frame of 2^40 bytes", bytes([FIN | BINARY, 0xff]) + struct.pack("!Q", 1 << 40) + bytes(4), 1009),
]


def fault_of_close(came, status):
    """What is wrong with the Close, and its reason."""
    if came is None or came[0] != FIN | CLOSE:
        return "is not answered with a Close", None
    if came[1][:2] != struct.pack("!H", status):
        return f"is not answered with status {status}", None
    try:
        reason = came[1][2:].decode("utf-8")
    except UnicodeDecodeError:
        return "gets a reason that is not UTF-8", None
    return (None, reason) if re.search(r"\w\w", reason) else ("gets a Close without a reason", None)


def say_why(attempt):
    reasons = {}
    with attempt.server() as server:
        for what, data, status in WRONG:
            with Client(server) as client:
                client.socket.sendall(data)
                fault, reason = fault_of_close(client.next_frame(), status)
            if fault:
                return f"{what} {fault}"
            if reason in reasons:
                return f'{what} and {reasons[reason]} get the same reason, "{reason}"'
            reasons[reason] = what
        with Client(server) as client:
            client.send(struct.pack("!H", 3000) + b"bye", FIN | CLOSE)
            if client.receive()[:2] != struct.pack("!H", 3000):
                return "a Close with status 3000, which is legal, is not answered with 3000"
    return attempt.lacks("--only", "strict/*")


def memory_of_claims(attempt):
    """The KiB of data for a client of which only the header of a long frame has come."""
    count, header = 30, bytes([FIN | BINARY, 0xff]) + struct.pack("!Q", MIB) + bytes(4)
    with attempt.server(sanitized=False) as server:
        before, clients = memory_kib(server, "VmData"), []
        for _ in range(count):
            clients.append(Client(server))
            clients[-1].socket.sendall(frame(FIN | PING) + header + b"x")
            clients[-1].next_frame()  # the Pong: what stood behind the Ping has come, too
        used = (memory_kib(server, "VmData") - before) / count
        for client in clients:
            client.socket.close()
    return used


def long_frames(attempt):
    with attempt.server() as server, Client(server) as client:
        for payload in (bytes(range(256)) * 4096, b"x" * 300001):
            client.send(payload, FIN | BINARY)
            if client.next_frame() != (FIN | BINARY, payload):
                return f"no echo of a frame of {len(payload):,} bytes"
        for part in (frame(TEXT, b"a" * 200000), frame(FIN | PING, b"?"), frame(FIN | CONTINUATION, b"b" * 200000)):
            client.socket.sendall(part)
        if client.next_frame() != (FIN | PONG, b"?") or client.receive() != b"a" * 200000 + b"b" * 200000:
            return "no echo of two fragments of 200,000 bytes, with a Ping between them"
        client.socket.sendall(bytes([FIN | BINARY, 0xff]) + struct.pack("!Q", MIB + 1) + bytes(4))
        if client.next_frame() != (FIN | CLOSE, struct.pack("!H", 1009)):
            return "a frame of 1 MiB and 1 byte is not refused with 1009 by its header"
    used = memory_of_claims(attempt)
    if used > 300:  # IN_MAX, and as much again
        return f"a client that has sent 1 byte of a long frame costs {used:.0f} KiB; take what has come"
    with attempt.server() as server:
        verdicts = attempt.grade(server, "--only", "utf8/fail-fast/*")
    late = [name for name, verdict in verdicts.items() if verdict != "pass"]
    if late:
        return f"the text of a frame is not refused as soon as it comes: {', '.join(late[:3])}"
    return next(filter(None, (attempt.lacks("--only", part) for part in PARTS)), None)


EXERCISES = [
    Exercise(1, "break it, rule by rule", break_it),
    Exercise(2, "say why", say_why),
    Exercise(3, "long frames", long_frames),
]
