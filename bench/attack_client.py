# SPDX-License-Identifier: MIT
"""Clients for attack_cost.py: sockets that send given bytes in given pieces, and throw away what comes back.

They do as little as possible, since one core has to keep up with a server in C on the other."""

import select
import socket
import struct

WRITE = 65536  # bytes of one send(), where a pattern does not say otherwise
QUIET_S = 0.02  # nothing has moved for so long, while the server sleeps: it has nothing more to do

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9

HANDSHAKE = (
    "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SOCKETIO = "/socket.io/?EIO=4&transport="


def frame(opcode, payload=b"", fin=True):
    """A masked frame; the key is zero, which costs the server as much as any other."""
    size = len(payload)
    head = bytes([opcode | (0x80 if fin else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += struct.pack(">BH", 0xFE, size)
    else:
        head += struct.pack(">BQ", 0xFF, size)
    return head + b"\0\0\0\0" + payload


def connect(server, number=0, slow=False):
    """Client `number` comes from a loopback address of its own, so that each is another host for the server."""
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if slow:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.bind(("127.0.1.%d" % (number % 250 + 1), 0))
    s.connect(("127.0.0.1", server.port))
    return s


def expect(s, status):
    """Read the head of a response. A pattern that gets another answer than it was made for would measure nothing."""
    head = read_until(s, b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 %d " % status):
        raise ConnectionError("expected %d: %r" % (status, head[:200]))


def read_until(s, mark):
    came = b""
    while mark not in came:
        piece = s.recv(WRITE)
        if not piece:
            raise ConnectionError("the server has closed: %r" % came[-200:])
        came += piece
    return came


def websocket(server, path="/", number=0, slow=False):
    s = connect(server, number, slow)
    s.sendall((HANDSHAKE % path).encode())
    expect(s, 101)
    return s


def socketio(server, number=0, slow=False):
    """A client that is in "/" of Socket.IO, on a WebSocket."""
    s = websocket(server, SOCKETIO + "websocket", number, slow)
    s.sendall(frame(TEXT, b"40"))
    read_until(s, b"40{")
    return s


def reset(s):
    """Close with RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def send_some(s, data):
    """Returns the bytes sent; -1 at the end of the connection."""
    try:
        return s.send(data)
    except BlockingIOError:
        return 0
    except ConnectionError:
        return -1


def drop_some(s):
    """Read and throw away. False at the end of the connection."""
    try:
        return len(s.recv(4 * WRITE)) > 0
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def flow(server, clients, data, step=WRITE, listeners=(), read=True):
    """Send `data` on each of `clients`, `step` bytes at a time, while they and `listeners` read all that comes; without
    `read` nobody does. Ends when nothing moves any more. Returns the bytes sent."""
    view = memoryview(data)
    sent = {s: 0 for s in clients}
    writers = set(clients)
    readers = set(clients) | set(listeners) if read else set()
    for s in readers | writers:
        s.setblocking(False)
    while True:
        can_read, can_write, _ = select.select(readers, writers, [], QUIET_S)
        if not can_read and not can_write and server.sleeps():
            return sum(sent.values())
        for s in can_read:
            if not drop_some(s):
                readers.discard(s)
                writers.discard(s)
        for s in can_write:
            count = send_some(s, view[sent[s] : sent[s] + step])
            sent[s] += max(count, 0)
            if count < 0 or sent[s] == len(data):
                writers.discard(s)


class Polling:
    """A session of Engine.IO on polling, in "/" of Socket.IO: a socket for POST, and one for GET."""

    def __init__(self, server):
        self.posts, self.gets = connect(server), connect(server)
        opened = self.get("")
        sid = opened.split(b'"sid":"')[1].split(b'"')[0].decode()
        self.query = "&sid=" + sid
        self.post(b"40")
        self.get()

    def get(self, query=None):
        query = self.query if query is None else query
        self.gets.sendall(("GET %spolling%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (SOCKETIO, query)).encode())
        return self.body(self.gets)

    def post(self, body, field=None):
        field = field or "Content-Length: %d" % len(body)
        head = "POST %spolling%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n" % (SOCKETIO, self.query, field)
        for at in range(0, len(body), WRITE):
            self.posts.sendall((head.encode() if at == 0 else b"") + body[at : at + WRITE])
        self.body(self.posts)
        return len(head) + len(body)

    @staticmethod
    def body(s):
        head, _, body = read_until(s, b"\r\n\r\n").partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(head.split(b"\r\n")[0].decode())
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < size:
            body += s.recv(WRITE)
        return body
