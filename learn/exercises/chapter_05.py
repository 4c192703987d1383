"""Chapter 5: messages, and the end of a connection."""
import os
import signal
import time

from attempt import Exercise
from peer import BINARY, CLOSE, FIN, PING, TEXT, Client, connect, frame, shown, until_end

LEVEL = ("--level", "closing")


# --- 1 ----------------------------------------------------------------------------------------------------------------

def behind_a_close(server):
    """What a client gets when it sends 200,000 bytes behind its Close and reads late; and the error, if one came."""
    with Client(server) as client:
        s, data = client.socket, b""
        try:
            s.sendall(frame(FIN | CLOSE, b"\x03\xe8") + frame(FIN | BINARY, b"a" * 200000))
            time.sleep(0.1)
            while more := s.recv(100):
                data += more
        except OSError as fault:
            return data, os.strerror(fault.errno)
        return data, None


def break_it(attempt):
    large = ("--only", "limits/large/*-4-mib-in-64-kib")
    for defines, due, why in ((("BROKEN=1",), "warn", "the Close with 1009 is lost"),
                              ((), "skip", "the Close with 1009 arrives")):
        said = f"with -D{defines[0]}" if defines else "without BROKEN"
        with attempt.server(defines=defines) as server:
            verdicts = set(attempt.grade(server, *large).values())
            came, error = behind_a_close(server)
        if verdicts != {due}:
            return f"{said}, {large[1]} should get {due}, because {why}; it got {' and '.join(sorted(verdicts))}"
        if bool(defines) != bool(error):
            return f"{said}, 200,000 bytes behind a Close: the client got {shown(came)}, then {error or 'FIN'}"
    return attempt.lacks(*LEVEL)


# --- 2 ----------------------------------------------------------------------------------------------------------------

def reason_back(attempt):
    with attempt.server() as server:
        for payload, due in ((b"\x03\xe8bye", None), (b"\x03\xe9" + "zu müde".encode(), None), (b"\x03\xe8", None),
                             (b"", None), (b"\x03\xe8" + b"r" * 123, None), (b"\x03\xe8" + b"r" * 124, b"\x03\xe8")):
            with Client(server) as client:
                client.send(payload, FIN | CLOSE)
                came = client.next_frame()
                if came is None or came[0] != FIN | CLOSE:
                    return f"a Close with {shown(payload)} is not answered with a Close"
                if due is None and came[1] != payload:
                    return f"a Close with {shown(payload)} is answered with {shown(came[1])}"
                if len(came[1]) > 125:
                    return f"a Close of {len(payload)} bytes is answered with {len(came[1])}, 125 are allowed at most"
                if not client.ends_within(1):
                    return "after the Close the connection stays open"
    return attempt.lacks(*LEVEL)


# --- 3 ----------------------------------------------------------------------------------------------------------------

def in_fragments(attempt):
    with attempt.server() as server, Client(server, timeout=1) as client:
        for opcode, length in ((TEXT, 5), (TEXT, 0), (BINARY, 1000), (TEXT, 1001), (BINARY, 2000), (BINARY, 70000)):
            due = [1000] * (length // 1000) + ([length % 1000] if length % 1000 or not length else [])
            text = bytes(ord("a") + i // 7 % 26 for i in range(length))
            client.send(text, FIN | opcode)
            came = []
            while not came or not came[-1][0] & FIN:
                came.append(client.next_frame())
                if came[-1] is None:
                    return f"a message of {length} bytes: after {len(came) - 1} frames no more came, and none had FIN"
            lengths = [len(payload) for _, payload in came]
            if lengths != due:
                return f"a message of {length} bytes came back in frames of {few(lengths)} bytes, not {few(due)}"
            firsts = [first & 0x7f for first, _ in came]
            if firsts != [opcode] + [0] * (len(due) - 1):
                return f"a message of {length} bytes: the opcodes are {few(firsts)}; all but the first must be 0"
            if b"".join(payload for _, payload in came) != text:
                return f"a message of {length} bytes came back with other bytes"
    return attempt.lacks(*LEVEL)


def few(numbers):
    return ", ".join(map(str, numbers[:4])) + (", ..." if len(numbers) > 4 else "")


# --- 4 ----------------------------------------------------------------------------------------------------------------

GOING_AWAY = (FIN | CLOSE, b"\x03\xe9")


def all_answer(attempt):
    with attempt.server(may_end=True) as server:
        alice, bob, carol = Client(server, timeout=1), Client(server, timeout=1), connect(server)
        bob.send(b"Hel", TEXT)  # a message is open
        time.sleep(0.05)
        server.process.send_signal(signal.SIGTERM)
        for name, client in (("one client", alice), ("a client whose message is not complete", bob)):
            came = client.next_frame()
            if came != GOING_AWAY:
                got = "nothing" if came is None else f"the frame {came[0]:02x} {came[1].hex(' ')}"
                return f"at SIGTERM {name} got {got}, not a Close with 1001 (88 03 e9)"
        if server.ends_within(0.2) is not None:
            return "the server does not wait for the answers"
        alice.send(b"late")
        alice.send(b"", FIN | PING)
        alice.send(b"\x03\xe9", FIN | CLOSE)
        bob.send(b"\x03\xe9", FIN | CLOSE)
        for client in (alice, bob):
            came, ended = until_end(client.socket, 1)
            if came:
                return f"behind its Close the server has sent {shown(came)}: nothing may follow a Close"
            if not ended:
                return "the client has answered the Close, and its connection does not end"
            client.socket.close()
        carol.close()  # she has sent nothing
        status = server.ends_within(1)
        if status is None:
            return "all clients have answered and gone, and the server still runs"
        return f"its exit status is {status}, not 0; {server.stderr()}".rstrip("; ") if status != 0 else None


def one_is_silent(attempt):
    with attempt.server(may_end=True) as server, Client(server):
        server.process.send_signal(signal.SIGTERM)
        if server.ends_within(2.3) is not None:
            return "the server does not wait 3 seconds for a client that does not answer"
        status = server.ends_within(1.7)
        if status is None:
            return "a client does not answer, and after 4 seconds the server still runs"
        return f"a client does not answer: the exit status is {status}, not 0" if status != 0 else None


def end_politely(attempt):
    return all_answer(attempt) or one_is_silent(attempt) or attempt.lacks(*LEVEL)


EXERCISES = [
    Exercise(1, "break it", break_it),
    Exercise(2, "send the reason back", reason_back),
    Exercise(3, "answer in fragments", in_fragments),
    Exercise(4, "end the server politely", end_politely),
]
