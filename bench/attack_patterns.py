# SPDX-License-Identifier: MIT
"""The patterns of attack_cost.py: what an attacker sends, and what an honest client sends in as many bytes.

A pattern is here because it makes the server do something for few bytes: `aim` says what. The honest client sends as
many bytes, in writes of the same size and over as many connections, but ordinary messages: on a WebSocket texts of 100
bytes, by HTTP the request of curl for the page, in Socket.IO events of 100 bytes. Where the attack is one large thing,
so is the honest message: a binary message, or a POST of one event.

Each side is a generator function: it gets the server, prepares, yields where the measuring begins, and returns the
bytes that it has sent since."""

from dataclasses import dataclass
from typing import Callable

import attack_client as c

KIB = 1 << 10
MIB = 1 << 20
CONNECTIONS = 300  # of a pattern that is about connections
MEMBERS = 16  # of a room
HOSTS = 120  # that hold memory


@dataclass
class Pattern:
    name: str
    aim: str
    attack: Callable
    honest: Callable
    mode: str = "echo"
    memory_mib: int = 32  # --max-memory
    max_ratio: float = 10  # docs/security.md has the reason where it is another


def many(piece, size=2 * MIB):
    return piece * (size // len(piece))


# --- streams on one connection ------------------------------------------------------------------------------


def stream(data, opener=c.websocket, step=c.WRITE, read=True):
    def side(server):
        s = opener(server)
        yield
        return c.flow(server, [s], data, step, read=read)

    return side


def pipelined(request, status=200, size=128 * KIB):
    """Requests, each of which gets that status."""

    def side(server):
        s = c.connect(server)
        s.sendall(request)
        c.expect(s, status)
        yield
        return c.flow(server, [c.connect(server)], many(request, size))

    return side


def fragments(payload, count):
    return c.frame(c.TEXT, payload, fin=False) + c.frame(0, payload, fin=False) * count


LINE = c.frame(c.TEXT, b"x" * 100)
CURL = b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n"
EVENT = c.frame(c.TEXT, b'42["message","%s"]' % (b"x" * 84))

lines = stream(many(LINE))
requests = pipelined(CURL)
events = stream(many(EVENT), c.socketio)

TEXT_16M = ("中" * (16 * MIB // 3)).encode()
HALF_KIB = c.frame(c.TEXT, b"x" * 500)
LONG = c.frame(c.BINARY, b"x" * 15000)
HANDSHAKE = (c.HANDSHAKE % "/").encode()
LONG_HEAD = HANDSHAKE[:-2] + b"X: " + b"x" * 15000  # without its end

FRAMES = [
    Pattern("empty texts", "a callback and an echo for 6 bytes", stream(many(c.frame(c.TEXT))), lines),
    Pattern("texts of 1 byte", "the same, and UTF-8", stream(many(c.frame(c.TEXT, b"x"))), lines),
    Pattern("empty pings, pongs not read", "pongs that pile up", stream(many(c.frame(c.PING)), read=False), lines),
    Pattern(
        "pings of 125 bytes, pongs not read",
        "the same, as long as they may be",
        stream(many(c.frame(c.PING, b"p" * 125)), read=False),
        lines,
    ),
    Pattern("fragments of 1 byte", "memory for each fragment", stream(fragments(b"x", 2 * MIB // 7)), lines),
    Pattern("empty fragments", "a message that never grows", stream(fragments(b"", 60000)), lines),
    Pattern(
        "a text of 16 MiB, wrong at its end",
        "work that is thrown away",
        stream(c.frame(c.TEXT, TEXT_16M + b"\xff")),
        stream(c.frame(c.BINARY, TEXT_16M)),
        memory_mib=256,
    ),
]


# --- HTTP, and one connection after the other ---------------------------------------------------------------


def connections(request, status, end=lambda s: s.close()):
    """Each sends `request`, waits for its answer, if one has to come, and ends."""

    def side(server):
        yield
        for _ in range(CONNECTIONS):
            s = c.connect(server)
            s.sendall(request)
            if status:
                c.expect(s, status)
            end(s)
        return CONNECTIONS * len(request)

    return side


def visits(message=LINE):
    """Honest connections: handshake, message, echo, Close."""

    def side(server):
        yield
        for _ in range(CONNECTIONS):
            s = c.connect(server)
            s.sendall(HANDSHAKE)
            c.expect(s, 101)
            s.sendall(message)
            left = len(message) - 4  # the echo has no key
            while left > 0:
                left -= len(s.recv(c.WRITE))
            s.sendall(c.frame(c.CLOSE, b"\x03\xe8"))
            c.read_until(s, b"\x88\x02\x03\xe8")
            s.close()
        return CONNECTIONS * (len(HANDSHAKE) + len(message) + 8)

    return side


def fields(count, value):
    return HANDSHAKE[:-2] + b"".join(b"f%02d:%s\r\n" % (i, value) for i in range(count)) + b"\r\n"


OLD_VERSION = HANDSHAKE.replace(b": 13", b": 8")
TOKENS = HANDSHAKE[:-2] + b"Connection: " + b"a," * 7000 + b"a\r\n\r\n"
LOST = b"GET /x HTTP/1.1\r\nHost:localhost\r\n\r\n"
LOST_ALONE = b"GET /x HTTP/1.1\r\nHost:localhost\r\nConnection:close\r\n\r\n"
IO_HANDSHAKE = (c.HANDSHAKE % (c.SOCKETIO + "websocket")).encode()

HTTP = [
    Pattern(
        "a head of 15 KiB byte by byte",
        "a parser that begins anew",
        stream(LONG_HEAD, c.connect, step=1),
        stream(LONG, step=1),
    ),
    Pattern(
        "a handshake of 15 KiB",
        "fields looked up by name",
        connections(fields(90, b"v" * 160), 101),
        visits(LONG),
    ),
    Pattern(
        "fields without values, 90 of them",
        "fields of few bytes",
        connections(fields(90, b""), 101),
        visits(HALF_KIB),
    ),
    Pattern(
        "a list of 7000 tokens in Connection",
        "lists read again and again",
        connections(TOKENS, 101),
        visits(LONG),
    ),
    Pattern(
        "pipelined GETs of the page",
        "29 KB for 35 bytes",
        pipelined(b"GET / HTTP/1.1\r\nHost:localhost\r\n\r\n"),
        requests,
    ),
    Pattern("pipelined GETs with 404", "responses without any content", pipelined(LOST, 404, 2 * MIB), requests),
    Pattern("a connection for each 404", "accept, a request, close", connections(LOST_ALONE, 404), visits()),
    Pattern("handshake and RST", "a connection that is gone at once", connections(HANDSHAKE, None, c.reset), visits()),
    Pattern(
        "handshake and Close",
        "on_open, on_close and the closing handshake",
        connections(HANDSHAKE + c.frame(c.CLOSE), 101),
        visits(),
    ),
    Pattern("handshakes of version 8", "refusals, and lines of the log", connections(OLD_VERSION, 426), visits()),
]


# --- rooms --------------------------------------------------------------------------------------------------


def room(data, read=True):
    """One sends, and the others of its room read or do not."""

    def side(server):
        others = [c.websocket(server, "/room", i, slow=not read) for i in range(MEMBERS)]
        sender = c.websocket(server, "/room", MEMBERS)
        yield
        return c.flow(server, [sender], data, listeners=others if read else ())

    return side


def joins(path):
    """Members of as many rooms as there are paths; they stay."""

    def side(server):
        yield
        kept = []
        for i in range(CONNECTIONS):
            kept.append(c.websocket(server, path(i), i))
        return sum(len(c.HANDSHAKE) - 2 + len(path(i)) for i in range(CONNECTIONS))

    return side


LARGE = c.frame(c.BINARY, b"x" * 65536)

ROOMS = [
    Pattern(
        "empty texts to %d members" % MEMBERS,
        "the cost of a frame, times members",
        room(many(c.frame(c.TEXT), 256 * KIB)),
        room(many(LINE, 256 * KIB)),
        "chat",
    ),
    Pattern("messages to members that do not read", "queues", room(LARGE * 16, read=False), room(LARGE * 16), "chat"),
    Pattern(
        "rooms with names of 8 KiB",
        "memory for names",
        joins(lambda i: "/%04d" % i + "x" * 8000),
        joins(lambda i: "/room"),
        "chat",
    ),
]


# --- Engine.IO and Socket.IO --------------------------------------------------------------------------------


def posts(body, field=None, echoed=True):
    """A few POSTs; the echo of each is fetched."""

    def side(server):
        session = c.Polling(server)
        yield
        size = 0
        for _ in range(4):
            size += session.post(body, field)
            if echoed:
                session.get()
        return size

    return side


def event_of(size):
    return b'42["m","%s"]' % (b"x" * (size - 9))


def chunks(body):
    return b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"


CREATE = ("GET " + c.SOCKETIO + "polling HTTP/1.1\r\nHost:localhost\r\n\r\n").encode()
PONGS = b"\x1e".join([b"3"] * 200000)
DEEP = c.frame(c.TEXT, b'42["a",' + b"[" * 120 + b"]" * 120 + b"]")
PLACEHOLDERS = b",".join(b'{"_placeholder":true,"num":%d}' % i for i in range(10))
ATTACHED = c.frame(c.TEXT, b'4510-["a",' + PLACEHOLDERS + b"]") + c.frame(c.BINARY) * 10
NAMESPACES = b"".join(c.frame(c.TEXT, b"40/n%05d," % i) for i in range(MIB // 16))
REQUEST = c.frame(c.TEXT, b'420["a"]')
IN_AND_OUT = c.frame(c.TEXT, b"40/n,") + c.frame(c.TEXT, b"41/n,")

SOCKETIO = [
    Pattern(
        "chunks of 1 byte",
        "6 bytes of framing for 1",
        posts(chunks(event_of(20000)), "Transfer-Encoding: chunked"),
        posts(event_of(120000)),
    ),
    Pattern("POSTs of packets of 1 byte", "200,000 packets", posts(PONGS, echoed=False), posts(event_of(400000))),
    Pattern(
        "new sessions of Engine.IO",
        "memory that outlives a request",
        pipelined(CREATE),
        requests,
    ),
    Pattern(
        "WebSockets of Engine.IO and RST",
        "a session for each",
        connections(IO_HANDSHAKE, None, c.reset),
        visits(),
    ),
    Pattern("JSON nested 120 deep", "recursion", stream(many(DEEP), c.socketio), events),
    Pattern(
        "events with 10 empty attachments",
        "packets that wait for others",
        stream(many(ATTACHED), c.socketio),
        events,
    ),
    Pattern("new namespaces", "a socket, an id and a namespace", stream(NAMESPACES, c.socketio), events),
    Pattern(
        "into a namespace and out of it",
        "the same, and freed again",
        stream(many(IN_AND_OUT), c.socketio),
        events,
    ),
    Pattern("requests of 1 letter", "an echo and an acknowledgement", stream(many(REQUEST), c.socketio), events),
]


# --- memory -------------------------------------------------------------------------------------------------


def from_many_hosts(data, opener=c.websocket, read=True):
    """Each is another host for the server, and may hold half of the memory that the others have left."""

    def side(server):
        clients = [opener(server, number=i, slow=not read) for i in range(HOSTS)]
        yield
        return c.flow(server, clients, data, read=read)

    return side


def growing(cut):
    """Messages of growing sizes, without their last `cut` bytes; half of the clients leave at each size."""

    def side(server):
        yield
        size = 0
        for length in (2000, 5000, 20000, 70000, 200000, MIB):
            message = c.frame(c.BINARY, b"x" * length)
            clients = [c.websocket(server, number=i) for i in range(HOSTS)]
            size += c.flow(server, clients, message[: len(message) - cut])
            for s in clients[::2]:
                c.reset(s)
        return size

    return side


HALF = c.frame(c.BINARY, b"x" * MIB)[: MIB // 2]
WHOLE = c.frame(c.BINARY, b"x" * (MIB // 2))

MEMORY = [
    Pattern(
        "half a message of 1 MiB from each of %d hosts" % HOSTS,
        "all of --max-memory",
        from_many_hosts(HALF),
        from_many_hosts(WHOLE),
    ),
    Pattern(
        "echoes that %d hosts do not read" % HOSTS,
        "the same, by queues",
        from_many_hosts(LARGE * 16, read=False),
        from_many_hosts(LARGE * 16),
    ),
    Pattern(
        "new namespaces of %d hosts" % HOSTS,
        "the same, by small blocks",
        from_many_hosts(NAMESPACES[: 16 * 3000], c.socketio),
        from_many_hosts(many(EVENT, 16 * 3000), c.socketio),
    ),
    Pattern("unfinished messages of growing sizes", "holes between blocks", growing(1), growing(0)),
]

PATTERNS = FRAMES + HTTP + ROOMS + SOCKETIO + MEMORY
