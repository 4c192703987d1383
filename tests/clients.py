# SPDX-License-Identifier: MIT
"""Clients for tests of whole programs: WebSocket and Socket.IO, on non-blocking sockets in one loop.

They do what the tests need and no more. They answer pings, and check that what comes is legal. If it is not, the server
under test has an error, and they raise Broken.
"""
import base64
import contextlib
import errno
import heapq
import itertools
import json
import os
import selectors
import socket
import struct
import time

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Broken(Exception):
    """The server did something that it must not do, or did not do something in time."""


class Loop:
    """Sockets and timers. Timers run by a clock that stands still while this process does not run: on a busy machine
    all takes longer, and nobody is late because of that."""

    MOST = 0.1  # seconds that count of one turn

    def __init__(self):
        self.selector = selectors.EpollSelector()
        self.timers = []
        self.latest = 0.0  # the longest turn, in seconds
        self.clock = 0.0
        self.turned = time.monotonic()
        self.count = itertools.count()

    def after(self, seconds, function):
        heapq.heappush(self.timers, (self.clock + seconds, next(self.count), function))

    def turn(self, seconds):
        """Wait for sockets and timers, but at most so long; then serve those that are ready."""
        seconds = min(seconds, self.MOST)
        if self.timers:
            seconds = min(seconds, self.timers[0][0] - self.clock)
        for key, events in self.selector.select(max(0, seconds)):
            key.data(events)
        now = time.monotonic()
        self.latest = max(self.latest, now - self.turned)
        self.clock += min(self.MOST, now - self.turned)
        self.turned = now
        while self.timers and self.timers[0][0] <= self.clock:
            heapq.heappop(self.timers)[2]()

    def until(self, condition, seconds, what):
        """Serve until the condition is true. `what` says, in the error, what did not happen."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= end:
                raise Broken(f"not within {seconds:g} s: {what() if callable(what) else what}")
            self.turn(min(0.05, end - time.monotonic()))

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(end - time.monotonic())


class Connection:
    """A TCP connection. A subclass has received(data); on_end(self) is called once, when it has ended.

    place: a context in which the socket is made, such as a network namespace.
    """

    def __init__(self, loop, address, receive_buffer=None, place=contextlib.nullcontext()):
        self.loop = loop
        self.output = bytearray()
        self.end_reason = None  # a text once it has ended
        self.on_end = None
        self.reading = True
        with place:
            self.socket = socket.socket()
        self.socket.setblocking(False)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = self.socket.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
        self.writing = True
        loop.selector.register(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self.ready)

    def watch(self):
        events = (selectors.EVENT_READ if self.reading else 0) | (selectors.EVENT_WRITE if self.writing else 0)
        if events == 0:
            events = selectors.EVENT_WRITE  # the selector refuses nothing; the socket is full then
        self.loop.selector.modify(self.socket, events, self.ready)

    def ready(self, events):
        try:
            if events & selectors.EVENT_READ:
                data = self.socket.recv(65536)
                if not data:
                    self.end("end of file")
                    return
                self.received(data)
            if events & selectors.EVENT_WRITE and self.end_reason is None:
                self.flush()
        except BlockingIOError:
            pass
        except OSError as error:
            self.end(error.strerror or str(error))

    def send_bytes(self, data):
        self.output += data
        if not self.writing and self.end_reason is None:
            try:
                self.flush()
            except OSError as error:
                self.end(error.strerror or str(error))

    def flush(self):
        while self.output:
            try:
                del self.output[:self.socket.send(memoryview(self.output)[:262144])]
            except BlockingIOError:
                break
        if self.writing != bool(self.output):
            self.writing = bool(self.output)
            self.watch()

    def end(self, reason):
        if self.end_reason is not None:
            return
        self.end_reason = reason
        self.loop.selector.unregister(self.socket)
        self.socket.close()
        if self.on_end:
            self.on_end(self)

    def reset(self):
        """End with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end("reset by the test")


def frame(opcode, data, fin=True):
    """A masked frame."""
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(data) < 126:
        head += bytes([0x80 | len(data)])
    elif len(data) < 65536:
        head += struct.pack("!BH", 0xfe, len(data))
    else:
        head += struct.pack("!BQ", 0xff, len(data))
    key = os.urandom(4)
    mask = (key * (len(data) // 4 + 1))[:len(data)]
    masked = int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")
    return head + key + masked.to_bytes(len(data), "big")


class WebSocket(Connection):
    """Calls on_message(data) for each message, as bytes; without it they are collected in `messages`."""

    def __init__(self, loop, address, path="/", on_message=None, on_open=None, **options):
        super().__init__(loop, address, **options)
        self.path = path
        self.input = bytearray()
        self.is_open = False
        self.answers_pings = True
        self.messages = []
        self.close_code = None
        self.on_message = on_message or self.messages.append
        self.on_open = on_open
        key = base64.b64encode(os.urandom(16)).decode()
        self.send_bytes(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())

    def send(self, data, opcode=TEXT):
        self.send_bytes(frame(opcode, data.encode() if isinstance(data, str) else data))

    def close(self):
        self.send(struct.pack("!H", 1000), CLOSE)

    def received(self, data):
        self.input += data
        if not self.is_open:
            end = self.input.find(b"\r\n\r\n")
            if end < 0:
                return
            status = bytes(self.input[:self.input.find(b"\r\n")])
            if not status.startswith(b"HTTP/1.1 101 "):
                self.end(status.decode())
                return
            del self.input[:end + 4]
            self.is_open = True
            if self.on_open:
                self.on_open()
        at = 0
        while self.end_reason is None and (length := self.take_frame(at)):
            at += length
        del self.input[:at]

    def take_frame(self, at):
        """Handle the frame at this place of the input. Returns its length; 0: it is not there yet."""
        head, have = 2, len(self.input) - at
        if have < head:
            return 0
        first, length = self.input[at], self.input[at + 1]
        if length >= 126:
            size = 2 if length == 126 else 8
            head += size
            if have < head:
                return 0
            length = int.from_bytes(self.input[at + 2:at + head], "big")
        if have < head + length:
            return 0
        if first & 0xf0 != 0x80:
            raise Broken(f"{self.path}: a fragment, or reserved bits: 0x{first:02x}")
        self.frame_came(first & 0x0f, bytes(self.input[at + head:at + head + length]))
        return head + length

    def frame_came(self, opcode, data):
        if opcode in (TEXT, BINARY):
            self.on_message(data)
        elif opcode == PING:
            if self.answers_pings:
                self.send(data, PONG)
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(data[:2], "big") if data else 1005
            self.send(data, CLOSE)
        elif opcode != PONG:
            raise Broken(f"{self.path}: opcode {opcode}")


class Http(Connection):
    """Requests one after the other; ask() calls back with the status and the body."""

    def __init__(self, loop, address, **options):
        super().__init__(loop, address, **options)
        self.input = bytearray()
        self.waiting = []

    def ask(self, method, target, body, then):
        self.waiting.append(then)
        length = f"Content-Length: {len(body)}\r\nContent-Type: text/plain\r\n" if method == "POST" else ""
        self.send_bytes(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n".encode() + body)

    def received(self, data):
        self.input += data
        while self.end_reason is None:
            end = self.input.find(b"\r\n\r\n")
            if end < 0:
                return
            lines = bytes(self.input[:end]).decode().split("\r\n")
            fields = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}
            length = int(fields["content-length"])
            if len(self.input) < end + 4 + length:
                return
            body = bytes(self.input[end + 4:end + 4 + length])
            del self.input[:end + 4 + length]
            self.waiting.pop(0)(int(lines[0].split()[1]), body)


class SocketIO:
    """A Socket.IO client in the main namespace.

    transport: "websocket", "polling", or "upgrade" from polling to WebSocket. Calls on_event(list) for each event;
    without it they are collected in `events`. `session` is what recovery needs: from an earlier client, or None.
    """

    PATH = "/socket.io/?EIO=4&transport="

    def __init__(self, loop, address, transport, on_event=None, session=None, place=contextlib.nullcontext()):
        self.loop = loop
        self.place = place
        self.address = address
        self.transport = transport
        self.events = []
        self.on_event = on_event or self.events.append
        self.on_open = None
        self.on_end = None
        self.session = session
        self.connected = None  # what the server says when it has let us in
        self.end_reason = None
        self.sid = None
        self.waiting = []  # packets that have not been sent, while there is nothing to send them on
        self.early = []  # events that wait for the server to let us in
        self.posting = False
        self.may_send = False
        self.polling = False
        self.upgrading = False
        self.websocket = self.getter = self.poster = None
        if transport == "websocket":
            self.websocket = self.open_websocket("", self.packet_came)
        else:
            self.poll()

    def open_websocket(self, query, on_message):
        websocket = WebSocket(self.loop, self.address, f"{self.PATH}websocket{query}", on_message, place=self.place)
        websocket.on_end = self.part_ended
        return websocket

    def usable(self, http):
        """The connection for the next request. The server may have closed one on which it waited for long."""
        if http is not None and http.end_reason is None:
            return http
        http = Http(self.loop, self.address, place=self.place)
        http.on_end = self.part_ended
        return http

    def emit(self, *event):
        packet = "42" + json.dumps(event, separators=(",", ":"))
        if self.connected is None:
            self.early.append(packet)
        else:
            self.send(packet)

    def send(self, packet):
        self.waiting.append(packet)
        self.send_waiting()

    def send_waiting(self):
        if not self.waiting or not self.may_send or self.posting or self.upgrading or self.end_reason:
            return
        packets, self.waiting = self.waiting, []
        if self.transport == "websocket":
            for packet in packets:
                self.websocket.send(packet)
        else:
            self.posting = True
            self.poster = self.usable(self.poster)
            self.poster.ask("POST", self.polling_path(), "\x1e".join(packets).encode(), self.posted)

    def polling_path(self):
        return self.PATH + "polling" + (f"&sid={self.sid}" if self.sid else "")

    def posted(self, status, body):
        self.posting = False
        if (status, body) != (200, b"ok"):
            self.end(f"POST: {status} {body[:100]!r}")
            return
        self.go_on_upgrading()
        self.send_waiting()

    def poll(self):
        self.polling = True
        self.getter = self.usable(self.getter)
        self.getter.ask("GET", self.polling_path(), b"", self.polled)

    def polled(self, status, body):
        self.polling = False
        if status != 200:
            self.end(f"GET: {status} {body[:100]!r}")
            return
        for packet in body.split(b"\x1e"):
            self.packet_came(packet)
        if self.end_reason:
            return
        if self.upgrading == "answered":
            self.go_on_upgrading()
        else:
            self.poll()

    def begin_upgrade(self):
        self.upgrading = "asked"
        self.websocket = self.open_websocket(f"&sid={self.sid}", self.probe_answered)
        self.websocket.send("2probe")

    def probe_answered(self, data):
        if data != b"3probe":
            raise Broken(f"a probe is answered with {data[:100]!r}")
        self.upgrading = "answered"
        self.go_on_upgrading()

    def go_on_upgrading(self):
        """Polling has ended when neither a GET nor a POST is on its way."""
        if self.upgrading != "answered" or self.polling or self.posting:
            return
        self.websocket.send("5")
        self.websocket.on_message = self.packet_came
        self.transport = "websocket"
        self.upgrading = False
        for http in (self.getter, self.poster):
            http.on_end = None
            http.end("upgraded")
        self.send_waiting()

    def packet_came(self, data):
        if self.end_reason:
            return
        text = data.decode()
        kind = text[:2] if text[:1] == "4" else text[:1]
        if kind == "0":
            self.sid = json.loads(text[1:])["sid"]
            self.may_send = True
            self.send("40" + (json.dumps(self.session) if self.session else ""))
        elif kind == "2":
            self.send("3")
        elif kind == "40":
            self.connected = json.loads(text[2:])
            self.waiting += self.early
            self.send_waiting()
            if self.transport == "upgrade":
                self.begin_upgrade()
            if self.on_open:
                self.on_open()
        elif kind == "42":
            self.on_event(json.loads(text[2:]))
        elif kind in ("41", "1"):
            self.end(f"packet {text[:100]}")
        elif kind != "6":
            raise Broken(f"Socket.IO packet {text[:100]!r}")

    def part_ended(self, part):
        if part is self.websocket or part.waiting:
            self.end(part.end_reason)

    def parts(self):
        return [part for part in (self.websocket, self.getter, self.poster) if part is not None]

    def end(self, reason):
        """Close the connections without a packet that says so."""
        if self.end_reason is not None:
            return
        self.end_reason = reason
        for part in self.parts():
            part.on_end = None
            part.end(reason)
        if self.on_end:
            self.on_end(self)


def fill_spares(loop, open_websocket):
    """A server keeps up to 8 MiB of freed blocks for later (BUDGET_SPARE_TOTAL). Make it do so: what grows after that
    is lost. open_websocket(path, receive_buffer=...) is a new WebSocket, to a path where it hears what it says. None
    of them reads, so the server holds most of what they are to hear, until they go."""
    clients = [open_websocket(f"/warm-{i}", receive_buffer=4096) for i in range(48)]
    loop.until(lambda: all(client.is_open for client in clients), 60, "clients are let in")
    for client in clients:
        client.reading = False
        client.send("x" * 1000000)
        client.watch()
    loop.until(lambda: not any(client.output for client in clients), 60, "the server takes large messages")
    loop.run(0.5)
    for client in clients:
        client.end("the server is warm")
