"""Chapter 1: a TCP echo."""
import socket

from attempt import Exercise
from peer import connect, shown, until_end


def answer_to(server, data, seconds=2):
    """What comes back when `data` and FIN are sent."""
    with connect(server) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        return until_end(s, seconds)[0]


def upper_case(attempt):
    sent, wanted = b"hello, World 42\n", b"HELLO, WORLD 42\n"
    with attempt.server() as server:
        for data, due in ((sent, wanted), (b"\xe4z\xff\n", b"\xe4Z\xff\n"), (b"z" * 20000, b"Z" * 20000)):
            came = answer_to(server, data)
            if came != due:
                return f"{shown(data)} came back as {shown(came)}"
    return None


def got_within(s, seconds):
    """What comes on a socket that stays open, in lower case: exercise 1 may be done in the same file."""
    return until_end(s, seconds)[0].lower()


def whole_lines(attempt):
    with attempt.server() as server, connect(server) as s:
        for sent, due, why in ((b"hel", b"", "the line has not ended"),
                               (b"lo\nre", b"hello\n", "the first line has ended, the second one has not"),
                               (b"st\na\nb\n", b"rest\na\nb\n", "three lines have ended")):
            s.sendall(sent)
            came = got_within(s, 0.3)
            if came != due:
                return f"after {shown(sent)} there came {shown(came)}, not {shown(due)}: {why}"
    with attempt.server() as server:
        with connect(server) as s:
            try:
                s.sendall(b"x" * 1000000)  # a line without an end may be refused, but the server must live
            except OSError:
                pass
        if answer_to(server, b"again\n").lower() != b"again\n":
            return "after a line of 1,000,000 bytes the next client gets no echo"
    return None


def sigpipe(attempt):
    with attempt.server() as server:
        with connect(server) as alice:  # while she is served, Bob sends and goes
            alice.sendall(b"a\n")
            alice.recv(1)
            with connect(server) as bob:
                bob.sendall(b"b" * 9999 + b"\n")
        if server.ends_within(0.3) is not None:
            return "Bob has gone, and a write() to him ended the server"
        if not answer_to(server, b"carol\n"):
            return "the server is alive, but the next client gets no echo"
    return None


def ipv6(attempt):
    with attempt.server() as server:
        server.host = "::1"
        try:
            came = answer_to(server, b"hello\n")
        except ConnectionRefusedError:
            return "nothing listens on ::1"
        return None if came.lower() == b"hello\n" else f"over ::1 'hello\\n' came back as {shown(came)}"


EXERCISES = [
    Exercise(1, "upper case", upper_case),
    Exercise(2, "whole lines", whole_lines),
    Exercise(3, "SIGPIPE", sigpipe),
    Exercise(4, "IPv6", ipv6),
]
