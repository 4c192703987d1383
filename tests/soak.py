#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does minnow serve without a fault for a long time, with clients of all kinds at once?

    tests/soak.py [--minutes N] [--clients N] [--minnow PATH] [--recovery PATH]

An echo, a chat, and a Socket.IO server with connection state recovery (tests/e2e/sio_server.c) serve well-behaved
clients, whose messages are numbered: none may be lost, doubled or reordered. Beside them are clients that read slowly,
never answer, reset their connections or send garbage. The memory of each server must be flat after the first quarter of
the time, and all descriptors must be closed at the end. Prints a line each 10 s. Status 1, with what was wrong.
`make soak MINUTES=30` runs it.
"""
import argparse
import collections
import functools
import os
import random
import re
import resource
import statistics
import sys
import time
import traceback

from clients import BINARY, Broken, Connection, Loop, SocketIO, WebSocket, fill_spares
from program import Program

INTERVAL, TIMEOUT = 15, 45  # of pings; long, since the clients share a processor with others
LATE = 30  # seconds: clients that are kept from running for longer cannot answer in time
SOON = 120  # seconds in which everything must have come that was sent
GROWTH = 1.01
ROOM = 10  # members
MEMORY_MIN_KIB = 256  # a smaller growth is noise: pages of the C library and the kernel
MEMORY_MINUTES = 5  # before that the memory of all kinds of clients is not yet there


class Soak:
    """What all clients share."""

    def __init__(self, arguments):
        # An HTTP client must expect that a connection on which it was silent for --handshake-timeout is closed just
        # when it sends a request. Here that is longer than any client is silent.
        options = ["-q", "-p", "0", "--ping-interval", str(INTERVAL), "--ping-timeout", str(TIMEOUT),
                   "--handshake-timeout", str(2 * (INTERVAL + TIMEOUT))]
        self.echo = Program(arguments.minnow, "echo", *options)
        self.chat = Program(arguments.minnow, "chat", *options)
        self.recovery = Program(arguments.recovery, "0", "recovery", str(TIMEOUT * 1000))
        self.servers = {"echo": self.echo, "chat": self.chat, "recovery": self.recovery}
        self.loop = Loop()
        self.random = random.Random(1)
        self.stopping = False
        self.messages = self.connections = self.recovered = self.found_silent = 0
        self.wrong = 0
        self.wrong_kinds = collections.Counter()

    def fail(self, what):
        """Print it, unless five of the same kind have been printed. The kind is the text without its numbers."""
        kind = re.sub(r"\d+", "N", str(what))
        self.wrong += 1
        self.wrong_kinds[kind] += 1
        if self.wrong_kinds[kind] <= 5:
            print(f"WRONG: {what}", flush=True)

    def later(self, low, high, function):
        self.loop.after(self.random.uniform(low, high), function)


# --- well-behaved clients ----------------------------------------------------------------------------

class Numbered:
    """A client that sends numbered messages and expects each back. It stays for a while, ends the connection when all
    has come, and connects again. A subclass opens the connection and sends."""

    pause = (0.5, 2)
    life = (20, 90)

    def __init__(self, soak):
        self.soak = soak
        soak.later(0, 5, self.begin)
        self.done = False

    def begin(self):
        if self.soak.stopping:
            self.done = True
            return
        self.sent = self.came = 0
        self.waiting_since = None
        self.leaving = False
        self.client = self.open()
        self.client.on_end = self.ended
        self.soak.connections += 1
        self.soak.later(*self.life, self.leave)
        self.soak.later(*self.pause, self.speak)

    def speak(self):
        if self.leaving or self.soak.stopping or self.client.end_reason:
            return
        self.say(self.sent)
        self.sent += 1
        self.soak.later(*self.pause, self.speak)

    def number_came(self, number):
        if number != self.came:
            self.soak.fail(f"{self.name()}: {number} came in place of {self.came}")
            self.came = number
        self.came += 1
        self.soak.messages += 1

    def leave(self):
        """When all has come. Nothing more is sent meanwhile."""
        if self.client.end_reason:
            return
        if not self.leaving:
            self.leaving, self.waiting_since = True, self.soak.loop.clock
        if self.came == self.sent:
            self.client.on_end = None
            self.goodbye()
            self.begin_again()
        elif self.soak.loop.clock - self.waiting_since > SOON:
            self.soak.fail(f"{self.name()}: {self.sent - self.came} of {self.sent} did not come back")
            self.client.on_end = None
            self.client.end("given up")
            self.begin_again()
        else:
            self.soak.loop.after(0.2, self.leave)

    def begin_again(self):
        self.done = self.soak.stopping
        if not self.done:
            self.soak.later(0, 1, self.begin)

    def ended(self, client):
        self.soak.fail(f"{self.name()}: the connection has ended: {client.end_reason}")
        self.begin_again()

    def name(self):
        return type(self).__name__

    def goodbye(self):
        self.client.end("goodbye")


class EchoText(Numbered):
    def open(self):
        self.texts = []
        return WebSocket(self.soak.loop, ("127.0.0.1", self.soak.echo.port), on_message=self.heard)

    def say(self, number):
        size = int(10 ** self.soak.random.uniform(0, 4.3))
        self.texts.append(b"%d " % number + b"%d" % size * (size // len(str(size))))
        self.client.send(self.texts[-1], BINARY if number % 2 else 1)

    def heard(self, message):
        expected = self.texts.pop(0) if self.texts else None
        if message != expected:
            self.soak.fail(f"EchoText: {message[:40]!r} came in place of {expected and expected[:40]!r}")
        self.number_came(int(message.split()[0]))

    def goodbye(self):
        """With the closing handshake, in most cases."""
        if self.soak.random.random() < 0.8:
            self.client.close()
            self.soak.loop.after(5, self.check_closed(self.client))
        else:
            self.client.end("goodbye")

    def check_closed(self, client):
        def check():
            if client.close_code != 1000 and not self.soak.stopping:
                self.soak.fail(f"EchoText: Close is answered with {client.close_code} after 5 s")
            client.end("goodbye")
        return check


class SlowReader(EchoText):
    """Reads for a moment only now and then. Its echoes pile up; all of them come."""

    pause = (0.5, 1.5)
    life = (60, 120)

    def open(self):
        self.texts = []
        client = WebSocket(self.soak.loop, ("127.0.0.1", self.soak.echo.port), on_message=self.heard,
                           receive_buffer=4096)
        self.soak.loop.after(1, lambda: self.toggle(client))
        return client

    def toggle(self, client):
        if client.end_reason:
            return
        client.reading = not client.reading or self.leaving
        client.watch()
        self.soak.loop.after(0.2 if client.reading else 3, lambda: self.toggle(client))

    def say(self, number):
        self.texts.append(b"%d " % number + b"slow" * self.soak.random.randrange(8000))
        self.client.send(self.texts[-1])


class Session(Numbered):
    """Socket.IO, echo."""

    transport = "websocket"

    def open(self):
        return SocketIO(self.soak.loop, ("127.0.0.1", self.soak.echo.port), self.transport, self.heard)

    def say(self, number):
        self.client.emit("n", number, "x" * self.soak.random.randrange(500))

    def heard(self, event):
        self.number_came(event[1])


class PollingSession(Session):
    transport = "polling"


class UpgradedSession(Session):
    transport = "upgrade"
    pause = (0.1, 2)


class Member:
    """A member of a room. It gets the messages of all members, its own too, and checks their numbers."""

    def __init__(self, soak, room, number):
        self.soak, self.room, self.number = soak, room, number
        self.said = 0
        self.next = {}
        soak.later(0, 5, self.begin)
        self.client = None

    def begin(self):
        if self.soak.stopping:
            return
        self.next = {}
        self.client = self.open()
        self.client.on_end = self.ended
        self.client.on_open = self.speak
        self.soak.connections += 1
        self.soak.later(30, 200, self.leave)

    def open(self):
        return WebSocket(self.soak.loop, ("127.0.0.1", self.soak.chat.port), f"/room-{self.room}",
                         lambda message: self.heard(message.decode()))

    def speak(self):
        if self.soak.stopping or self.client.end_reason:
            return
        self.send(f"{self.number} {self.said} {'x' * self.soak.random.randrange(300)}")
        self.said += 1
        self.soak.later(2, 6, self.speak)

    def send(self, text):
        self.client.send(text)

    def heard(self, text):
        who, what = (int(word) for word in text.split()[:2])
        expected = self.next.get(who, what)
        if what != expected:
            self.soak.fail(f"room {self.room}: {who}: {what} came in place of {expected}")
        self.next[who] = what + 1
        self.soak.messages += 1

    def is_complete(self):
        """All that it has sent has come back to it."""
        return self.client is None or self.client.end_reason or self.next.get(self.number, self.said) == self.said

    def leave(self):
        if self.soak.stopping or self.client.end_reason:
            return
        if not self.is_complete():
            self.soak.loop.after(0.1, self.leave)
            return
        self.client.on_end = None
        self.client.end("goodbye")
        self.soak.later(0, 2, self.begin)

    def ended(self, client):
        self.soak.fail(f"a member of room {self.room}: the connection has ended: {client.end_reason}")
        self.soak.later(1, 2, self.begin)


class EventMember(Member):
    """The same in the main namespace of Socket.IO."""

    def open(self):
        transport = self.soak.random.choice(["websocket", "polling", "upgrade"])
        return SocketIO(self.soak.loop, ("127.0.0.1", self.soak.chat.port), transport,
                        lambda event: self.heard(event[1]))

    def send(self, text):
        self.client.emit("say", text)


class Talker:
    """Sends a number to all sockets of the server with recovery, 10 times a second."""

    def __init__(self, soak):
        self.soak, self.number = soak, 0
        self.client = SocketIO(soak.loop, ("127.0.0.1", soak.recovery.port), "websocket", lambda event: None)
        self.client.on_open = self.speak
        self.client.on_end = lambda client: soak.fail(f"the talker's connection has ended: {client.end_reason}")

    def speak(self):
        if not self.soak.stopping:
            self.client.emit("all", self.number)
            self.number += 1
            self.soak.loop.after(0.1, self.speak)


class Recovering:
    """Resets its connection again and again, and gets what it has missed."""

    def __init__(self, soak):
        self.soak = soak
        self.session = self.sid = self.expected = self.client = None
        soak.later(1, 5, self.begin)

    def begin(self):
        if self.soak.stopping:
            return
        self.client = SocketIO(self.soak.loop, ("127.0.0.1", self.soak.recovery.port), "websocket", self.heard,
                               session=self.session)
        self.client.on_open = self.opened
        self.client.on_end = lambda client: self.soak.fail(f"recovering: the connection ended: {client.end_reason}")
        self.soak.connections += 1
        self.soak.later(3, 15, self.cut)

    def opened(self):
        said = self.client.connected
        if self.session and said["sid"] != self.sid:
            self.soak.fail("a client was not recovered")
            self.expected = None
        self.soak.recovered += self.session is not None
        self.sid = said["sid"]
        self.pid = said["pid"]

    def heard(self, event):
        number, offset = event[1:]
        if number != (number if self.expected is None else self.expected):
            self.soak.fail(f"recovering: {number} came in place of {self.expected}")
        self.expected = number + 1
        self.session = {"pid": self.pid, "offset": offset}
        self.soak.messages += 1

    def cut(self):
        if self.soak.stopping or self.client.end_reason:
            return
        if self.session is None:
            self.soak.loop.after(1, self.cut)
            return
        self.client.on_end = None
        self.client.websocket.reset()
        self.client.end("cut")
        self.soak.later(0, 4, self.begin)


# --- others ------------------------------------------------------------------------------------------

class Silent:
    """Answers no ping. The server must end it in time."""

    def __init__(self, soak):
        self.soak = soak
        soak.later(0, INTERVAL, self.begin)

    def begin(self):
        if self.soak.stopping:
            return
        server = self.soak.random.choice([self.soak.echo, self.soak.chat])
        self.client = WebSocket(self.soak.loop, ("127.0.0.1", server.port), "/silence")
        self.client.answers_pings = False
        self.client.on_end = self.ended
        self.begun = time.monotonic()  # the server's clock
        self.soak.connections += 1
        client = self.client
        self.soak.loop.after(INTERVAL + TIMEOUT + 15, lambda: self.check(client))

    def ended(self, client):
        if time.monotonic() - self.begun < TIMEOUT and not self.soak.stopping:
            self.soak.fail(f"a silent client is closed too early: {client.end_reason}")
        self.soak.found_silent += 1
        self.soak.later(0, 5, self.begin)

    def check(self, client):
        if not client.end_reason and not self.soak.stopping:
            self.soak.fail("a silent client is not closed")


class Rude(Connection):
    """A connection whose answers are of no interest."""

    def received(self, data):
        pass


class Resetting:
    """Sends something, whole or cut, and resets the connection."""

    HEAD = (b"GET /rude HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")

    def __init__(self, soak):
        self.soak = soak
        soak.later(0, 3, self.begin)

    def words(self):
        source = self.soak.random
        return source.choice([b"", self.HEAD[:source.randrange(len(self.HEAD))], self.HEAD,
                              self.HEAD + b"\x82\xff" + (10 ** 6).to_bytes(8, "big") + b"mask" + b"x" * 50000,
                              self.HEAD + b"\x81\x85" + bytes(4) + b"hello" * 2,
                              b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n"])

    def begin(self):
        if self.soak.stopping:
            return
        server = self.soak.random.choice([self.soak.echo, self.soak.chat])
        client = Rude(self.soak.loop, ("127.0.0.1", server.port))
        client.send_bytes(self.words())
        self.soak.connections += 1
        self.soak.later(0.1, 2, lambda: client.end_reason or client.reset())
        self.soak.later(2, 6, self.begin)


class Garbage(Resetting):
    """Bytes that mean nothing, before the handshake or after it."""

    def words(self):
        source = self.soak.random
        return (self.HEAD if source.random() < 0.5 else b"") + source.randbytes(source.randrange(3000))


# --- the run -----------------------------------------------------------------------------------------

# Of 100 clients, so many are of a kind. Members come by the room.
SHARES = {EchoText: 30, Session: 8, PollingSession: 6, UpgradedSession: 6, SlowReader: 6, Recovering: 8, Silent: 8,
          Resetting: 6, Garbage: 4}
MEMBERS, EVENT_MEMBERS = 16, 20  # of 100; in all


def make_clients(soak, count):
    clients = [kind(soak) for kind, share in SHARES.items() for _ in range(count * share // 100)]
    clients += [Member(soak, i // ROOM, i) for i in range(count * MEMBERS // 100)]
    clients += [EventMember(soak, "main", i) for i in range(EVENT_MEMBERS)]
    return clients


def watch_memory(soak, minutes):
    """Serve until the time is over. Returns what was measured each 10 s after the first quarter."""
    begin = time.monotonic()
    sizes = {name: [] for name in soak.servers}
    while time.monotonic() - begin < minutes * 60:
        soak.loop.run(min(10, begin + minutes * 60 - time.monotonic()))
        elapsed = time.monotonic() - begin
        now = {name: server.rss_kib() for name, server in soak.servers.items()}
        open_now = sum(server.connections() for server in soak.servers.values())
        print(f"{elapsed:6.0f} s  {soak.messages} messages  {soak.connections} connections, {open_now} open  "
              f"{soak.recovered} recovered  {soak.found_silent} silent found  "
              f"RSS {' '.join(f'{name} {size}' for name, size in now.items())} KiB  "
              f"longest turn of the clients {soak.loop.latest:.1f} s  {soak.wrong} wrong", flush=True)
        expect_running(soak)
        if elapsed > minutes * 60 / 4:
            for name, size in now.items():
                sizes[name].append(size)
        for name, server in soak.servers.items():
            if not server.alive():
                raise Broken(f"the {name} server has ended")
    return sizes


def expect_running(soak):
    if soak.loop.latest > LATE:
        raise Broken(f"the clients could not run for {soak.loop.latest:.0f} s: this machine is too busy for this test")
    soak.loop.latest = 0


def check_memory(soak, sizes, minutes):
    if minutes < MEMORY_MINUTES:
        print(f"the memory is judged from {MEMORY_MINUTES} minutes on")
        return
    for name, values in sizes.items():
        third = max(1, len(values) // 3)
        early, late = statistics.median(values[:third]), statistics.median(values[-third:])
        print(f"RSS of {name}: {early:.0f} KiB after a quarter of the time, {late:.0f} KiB at the end "
              f"({(late / early - 1) * 100:+.2f} %)")
        if late > early * GROWTH and late - early > MEMORY_MIN_KIB:
            soak.fail(f"the memory of {name} grows: {values}")


def finish(soak, clients):
    """Wait until all that was sent has come, and then end all connections."""
    soak.stopping = True
    numbered = [client for client in clients if isinstance(client, Numbered)]
    members = [client for client in clients if isinstance(client, Member)]
    for client in numbered:
        if not client.done and hasattr(client, "client"):
            client.leave()
    soak.loop.until(lambda: all(client.done or client.client.end_reason for client in numbered if
                                hasattr(client, "client")), SOON + 10, "all numbered messages come back")
    soak.loop.until(lambda: all(member.is_complete() for member in members), SOON, "all members hear themselves")
    for client in clients:
        one = getattr(client, "client", None)
        if one is not None and not one.end_reason:
            one.on_end = None
            one.end("the end")
    for key in list(soak.loop.selector.get_map().values()):
        owner = key.data.__self__
        owner.on_end = None
        owner.end("the end")


def expect_nothing_left(soak):
    """Sessions on polling have their time; then no descriptor is left."""
    end = time.monotonic() + 3 * (INTERVAL + TIMEOUT) + 30
    while time.monotonic() < end and any(server.connections() for server in soak.servers.values()):
        soak.loop.run(0.5)
    for name, server in soak.servers.items():
        if server.connections() != 0:
            soak.fail(f"{server.connections()} connections are left in the {name} server")
        status = server.stop()
        if status != 0:
            soak.fail(f"the {name} server ends with status {status}")


def main():
    parser = argparse.ArgumentParser(description="A long run of minnow with clients of all kinds.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--minnow", default="./minnow")
    parser.add_argument("--recovery", default="build/tests/e2e/sio_server")
    arguments = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    soak = Soak(arguments)
    for server in (soak.echo, soak.chat):
        fill_spares(soak.loop, functools.partial(WebSocket, soak.loop, ("127.0.0.1", server.port)))
    clients = make_clients(soak, arguments.clients)
    talker = Talker(soak)
    try:
        sizes = watch_memory(soak, arguments.minutes)
        check_memory(soak, sizes, arguments.minutes)
        finish(soak, clients + [talker])
        expect_nothing_left(soak)
    except Broken as broken:
        soak.fail(broken)
    except Exception:
        soak.fail(traceback.format_exc())
    print(f"soak: {soak.messages} messages, {soak.connections} connections, {soak.recovered} recovered, "
          f"{soak.wrong} wrong")
    sys.stdout.flush()
    os._exit(1 if soak.wrong else 0)


main()
