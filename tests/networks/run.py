#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does minnow deliver everything over bad networks, and notice peers that are gone?

    tests/networks/run.py [--minnow PATH] [SCENARIO ...]

All scenarios run at once, each in a process and two network namespaces of its own (link.py). Prints a line for each,
and "N passed, M failed". Needs root. `make test-networks` runs it.
"""
import argparse
import concurrent.futures
import functools
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from clients import BINARY, Broken, Http, Loop, SocketIO, WebSocket, fill_spares  # noqa: E402
from link import Link  # noqa: E402
from program import Program  # noqa: E402

LONGEST = 170  # seconds for a scenario
FAR, NEAR = "10.0.0.1", "127.0.0.1"  # the server's addresses: over the link, and beside the server
INTERVAL, TIMEOUT = 1.0, 1.0  # of pings, where peers vanish
HTTP_TIMEOUT, CLOSE_TIMEOUT = 1.7, 1.0  # a client on polling sends a pong each INTERVAL, so none is in vain
SLACK = 1.0  # for a busy machine


class Site:
    """A link, and an echo and a chat server at one end of it."""

    def __init__(self, minnow, *options, **conditions):
        self.link = Link(**conditions)
        self.loop = Loop()
        with self.link.server.namespace:
            self.echo, self.chat = (Program(minnow, mode, "-b", "0.0.0.0", "-p", "0", *options)
                                    for mode in ("echo", "chat"))

    def far(self, kind, server, *arguments, **options):
        return kind(self.loop, (FAR, server.port), *arguments, place=self.link.client.namespace, **options)

    def near(self, kind, server, *arguments, **options):
        return kind(self.loop, (NEAR, server.port), *arguments, place=self.link.server.namespace, **options)

    def all_open(self, clients, seconds=20):
        self.loop.until(lambda: all(c.is_open if isinstance(c, WebSocket) else c.connected for c in clients), seconds,
                        lambda: f"all connected ({[c.end_reason for c in clients]})")

    def stop(self):
        for server in (self.echo, self.chat):
            expect(server.alive(), "a server has ended")
            status = server.stop()
            expect(status == 0, f"a server ended with status {status}")


def expect(condition, what):
    if not condition:
        raise Broken(what)


# --- everything arrives, in order --------------------------------------------------------------------

def payload(source, size):
    return b"%d " % size + bytes(source.choices(b"abcdefghijklmnop", k=size))


class Echo:
    """A WebSocket that sends messages of all sizes at once, and expects them back."""

    def __init__(self, site, sizes, seed):
        source = random.Random(seed)
        self.sent = [payload(source, size) for size in sizes]
        self.client = site.far(WebSocket, site.echo)
        for i, message in enumerate(self.sent):
            self.client.send(message, BINARY if i % 3 == 0 else 1)

    def done(self):
        expect(self.client.end_reason is None, f"an echo client's connection has ended: {self.client.end_reason}")
        return len(self.client.messages) >= len(self.sent)

    def check(self):
        expect(self.client.messages == self.sent, "an echo is not what was sent, or in another order")


class EchoEvents:
    """The same with Socket.IO."""

    def __init__(self, site, transport, count):
        self.count = count
        self.client = site.far(SocketIO, site.echo, transport)
        site.loop.after(0, self.send)
        self.number = 0
        self.site = site

    def send(self):
        """One every 30 ms, so that some are sent while the transport changes."""
        self.client.emit("n", self.number, "x" * (self.number * 37 % 900))
        self.number += 1
        if self.number < self.count:
            self.site.loop.after(0.03, self.send)

    def done(self):
        expect(self.client.end_reason is None, f"a {self.client.transport} session has ended: {self.client.end_reason}")
        return len(self.client.events) >= self.count

    def check(self):
        expect([event[1] for event in self.client.events] == list(range(self.count)),
               f"{self.client.transport}: events are lost, doubled or out of order")


class Room:
    """Each member gets the messages of all members, in the same order. say(client, text) and heard(client) know the
    protocol."""

    def __init__(self, site, members, count, pause, say, heard):
        self.site, self.members, self.count = site, members, count
        self.pause, self.say, self.heard = pause, say, heard
        self.number = 0
        site.all_open(members)
        self.speak()

    def speak(self):
        for i, member in enumerate(self.members):
            self.say(member, f"{i} {self.number}")
        self.number += 1
        if self.number < self.count:
            self.site.loop.after(self.pause, self.speak)

    def done(self):
        for member in self.members:
            expect(member.end_reason is None, f"a member's connection has ended: {member.end_reason}")
        return all(len(self.heard(member)) >= self.count * len(self.members) for member in self.members)

    def check(self):
        first = self.heard(self.members[0])
        for i in range(len(self.members)):
            said = [text for text in first if text.split()[0] == str(i)]
            expect(said == [f"{i} {number}" for number in range(self.count)],
                   f"what member {i} says is lost, doubled or out of order")
        for member in self.members:
            expect(self.heard(member) == first, "two members hear different things")


def text_room(site, far, near, count, pause):
    members = [site.far(WebSocket, site.chat, "/room") for _ in range(far)]
    members += [site.near(WebSocket, site.chat, "/room") for _ in range(near)]
    return Room(site, members, count, pause, lambda member, text: member.send(text),
                lambda member: [message.decode() for message in member.messages])


def event_room(site, count, pause):
    transports = ["websocket", "websocket", "polling", "polling", "upgrade"]
    members = [site.far(SocketIO, site.chat, transport) for transport in transports]
    members.append(site.near(SocketIO, site.chat, "websocket"))
    return Room(site, members, count, pause, lambda member, text: member.emit("say", text),
                lambda member: [event[1] for event in member.events])


def deliver(site, tasks, seconds):
    def unfinished():
        return [(type(task).__name__, i) for i, task in enumerate(tasks) if not task.done()]

    site.loop.until(lambda: all([task.done() for task in tasks]), seconds, lambda: f"all delivered: {unfinished()}")
    for task in tasks:
        task.check()
    site.loop.run(0.3)
    for task in tasks:
        task.check()  # nothing comes twice


def everything(minnow, seconds, **conditions):
    site = Site(minnow, "--ping-interval", "2", "--ping-timeout", "8", **conditions)
    sizes = [0, 1, 125, 126, 1000, 20000, 5, 65535, 70000, 3, 4000] + [50] * 30
    tasks = [Echo(site, sizes, seed) for seed in range(3)]
    tasks += [EchoEvents(site, transport, 40) for transport in ("websocket", "polling", "upgrade", "upgrade")]
    tasks += [text_room(site, 4, 1, 25, 0.05), event_room(site, 25, 0.05)]
    deliver(site, tasks, seconds)
    for task in tasks:
        if isinstance(task, EchoEvents):
            expect(task.client.transport != "upgrade", "an upgrade has not ended")
    site.stop()
    return f"{site.link.passed} packets, {site.link.lost} lost, {site.link.overtaken} overtaken"


def delay(minnow):
    """200 ms in each direction"""
    return everything(minnow, 60, delay=0.2)


def loss(minnow):
    """5 % of the packets are lost in each direction"""
    return everything(minnow, 120, delay=0.01, loss=0.05)


def reorder(minnow):
    """20 % of the packets are overtaken by later ones"""
    return everything(minnow, 60, delay=0.01, reorder=0.2)


def small_packets(minnow):
    """the link takes 576 bytes in a packet"""
    return everything(minnow, 60, delay=0.005, mtu=576)


def all_of_it(minnow):
    """delay, loss, reordering and small packets at once"""
    return everything(minnow, 150, delay=0.1, loss=0.03, reorder=0.1, mtu=576)


# --- slow lines --------------------------------------------------------------------------------------

class Neighbours:
    """Two clients near the chat server, in a room of their own or that of others; measures how long messages take."""

    def __init__(self, site, room, pause=0.02, size=0):
        self.site, self.pause = site, pause
        self.padding = " " + "x" * size if size else ""
        self.times, self.sent_at, self.taken = [], {}, 0
        self.heard = []
        self.talker = site.near(WebSocket, site.chat, room, lambda message: None)
        self.listener = site.near(WebSocket, site.chat, room, self.hear)
        site.all_open([self.talker, self.listener])
        self.number = 0
        self.talking = True
        self.talk()

    def talk(self):
        if not self.talking:
            return
        self.sent_at[self.number] = time.monotonic()
        self.talker.send(f"near {self.number}{self.padding}")
        self.number += 1
        self.site.loop.after(self.pause, self.talk)

    def hear(self, message):
        word, number = message.split()[:2]
        if word == b"near":
            self.heard.append(int(number))
            self.times.append(time.monotonic() - self.sent_at.pop(int(number)))

    def check(self):
        """Nothing was lost, and nothing took long."""
        self.talking = False
        self.site.loop.until(lambda: len(self.heard) == self.number, 5, "neighbours hear all that is said")
        expect(self.heard == list(range(self.number)), "neighbours hear something else than is said")
        half, most = statistics.median(self.times), sorted(self.times)[len(self.times) * 95 // 100]
        expect(half < 0.02 and most < 0.2, f"neighbours wait: half of them {half:.3f} s, 5 % over {most:.3f} s")
        return f"neighbours waited {half * 1000:.1f} ms, 5 % of them over {most * 1000:.1f} ms"


def slow_lines(minnow):
    """1 kbit/s for each client: all arrives, slowly"""
    site = Site(minnow, "--ping-interval", "5", "--ping-timeout", "20", rate=1000, delay=0.05, mtu=576)
    neighbours = Neighbours(site, "/elsewhere")
    echoes = [Echo(site, [20, 0, 5, 900, 20], seed) for seed in range(3)]
    room = text_room(site, 3, 1, 4, 9)
    events = [EchoEvents(site, "websocket", 3)]
    deliver(site, echoes + events + [room], 130)
    said = neighbours.check()
    site.stop()
    return said


def flooded_slow_lines(minnow):
    """clients of 10 kbit/s in a room with 1 MB/s: they are closed, the others get all"""
    site = Site(minnow, "--ping-interval", "1", "--ping-timeout", "2", "--close-timeout", "2", "--max-message", "64K",
                "--max-queue", "512K", "--max-memory", "16M", rate=10000, delay=0.02)
    slow = [site.far(WebSocket, site.chat, "/loud", receive_buffer=4096) for _ in range(8)]
    site.all_open(slow)
    neighbours = Neighbours(site, "/loud", size=20000)
    site.loop.until(lambda: site.chat.connections() == 2, 60,
                    lambda: f"slow clients are closed: {site.chat.connections() - 2} are not")
    rss = site.chat.rss_kib()
    expect(rss < 24 * 1024, f"the server has {rss} KiB with --max-memory 16M")
    said = neighbours.check()
    site.stop()
    return f"{said}; server {rss} KiB"


# --- pulled cables -----------------------------------------------------------------------------------

class Crowd:
    """Clients of all kinds at both servers, over the link."""

    SESSION_CONNECTIONS = 4  # of the sessions at each server: polling has two

    def __init__(self, site):
        self.site = site
        self.plain = [site.far(WebSocket, site.echo) for _ in range(6)]
        self.members = [site.far(WebSocket, site.chat, "/room") for _ in range(6)]
        self.sessions = [site.far(SocketIO, server, transport) for server in (site.echo, site.chat)
                         for transport in ("websocket", "polling", "upgrade")]
        self.all = self.plain + self.members + self.sessions
        site.all_open(self.all)
        site.loop.until(lambda: all(session.transport != "upgrade" for session in self.sessions), 20, "upgrades end")

    def check_alive(self):
        for client in self.all:
            expect(client.end_reason is None, f"a client is closed that answers: {client.end_reason}")

    def leave(self):
        for client in self.all:
            client.on_end = None
            client.end("the test is over")


def expect_found(site, crowd, near):
    """The cable has just been pulled. The server finds out that all are gone but `near` of the chat's: WebSockets by
    its pings, sessions by theirs. The connections of a session end after that, like any that do not answer."""
    cut_at = time.monotonic()

    def until_left(more, seconds):
        site.loop.until(lambda: site.echo.connections() <= more and site.chat.connections() <= near + more,
                        seconds + SLACK - (time.monotonic() - cut_at), lambda: (
            f"dead peers are found: {site.echo.connections()} and {site.chat.connections() - near} are not"))
        return time.monotonic() - cut_at

    found = until_left(Crowd.SESSION_CONNECTIONS, INTERVAL + TIMEOUT)
    site.loop.run(cut_at + INTERVAL + TIMEOUT + SLACK / 2 - time.monotonic())
    expect_sessions_over(site, crowd)
    until_left(0, INTERVAL + TIMEOUT + HTTP_TIMEOUT + CLOSE_TIMEOUT)
    expect(site.chat.connections() == near, "a client is closed whose cable is whole")
    return found


def vanishing(minnow, **conditions):
    return Site(minnow, "--ping-interval", str(INTERVAL), "--ping-timeout", str(TIMEOUT),
                "--handshake-timeout", str(HTTP_TIMEOUT), "--close-timeout", str(CLOSE_TIMEOUT), **conditions)


def pulled_while_idle(minnow):
    """the cable is pulled while nobody sends: dead peers are found, the room goes on"""
    site = vanishing(minnow, delay=0.02)
    neighbours = Neighbours(site, "/room")
    crowd = Crowd(site)
    site.loop.run(2.5 * INTERVAL)
    crowd.check_alive()
    site.link.cut = True
    found = expect_found(site, crowd, 2)
    site.link.cut = False
    crowd.leave()
    Crowd(site).check_alive()  # new clients are served
    said = neighbours.check()
    site.stop()
    return f"found after {found:.2f} s; {said}"


def expect_sessions_over(site, crowd):
    """A request for a session that is over is refused."""
    answers = []
    askers = []
    for session in crowd.sessions:
        server = site.echo if session.address[1] == site.echo.port else site.chat
        askers.append(site.near(Http, server))
        askers[-1].ask("POST", f"{SocketIO.PATH}polling&sid={session.sid}", b"3",
                       lambda status, body: answers.append(status))
    site.loop.until(lambda: len(answers) == len(crowd.sessions), 5, "requests are answered")
    for asker in askers:
        asker.end("answered")
    expect(answers == [400] * len(answers), f"sessions of vanished clients are not over: {answers}")


def pulled_while_sending(minnow):
    """the cable is pulled while all send and the server sends: again and again, and no memory is kept"""
    site = vanishing(minnow, delay=0.01)
    for server in (site.echo, site.chat):
        fill_spares(site.loop, functools.partial(site.near, WebSocket, server))
    neighbours = Neighbours(site, "/room")
    sizes, longest = [], 0
    for _ in range(8):
        crowd = Crowd(site)
        for client in crowd.plain:
            for _ in range(20):
                client.send(b"x" * 60000)
        for client in crowd.members:
            client.send("much " + "x" * 60000)
        for client in crowd.sessions:
            client.emit("much", "x" * 60000)
        site.loop.run(0.1)
        site.link.cut = True
        longest = max(longest, expect_found(site, crowd, 2))
        crowd.leave()
        site.link.cut = False
        sizes.append((site.echo.rss_kib(), site.chat.rss_kib()))
    for early, last in zip(sizes[1], sizes[7]):
        expect(last <= early * 1.02, f"memory grows: {sizes} KiB")
    said = neighbours.check()
    site.stop()
    return f"found after {longest:.2f} s; {said}; servers {sizes[1]} KiB, at the end {sizes[7]}"


def pulled_at_the_server(minnow):
    """the server's own device is down: its send calls have no route"""
    site = vanishing(minnow, delay=0.01)
    neighbours = Neighbours(site, "/room")
    crowd = Crowd(site)
    site.link.server.set_up(False)
    found = expect_found(site, crowd, 2)
    said = neighbours.check()
    site.stop()
    return f"found after {found:.2f} s; {said}"


def loose_contact(minnow):
    """the cable is out for half the ping timeout, again and again: nobody is closed, all arrives"""
    site = Site(minnow, "--ping-interval", "1", "--ping-timeout", "4", delay=0.01)
    tasks = [text_room(site, 4, 1, 60, 0.1), event_room(site, 60, 0.1)]

    def pull():
        site.link.cut = not site.link.cut
        site.loop.after(0.7 if site.link.cut else 0.5, pull)

    site.loop.after(0.5, pull)
    deliver(site, tasks, 100)
    site.stop()
    return f"{site.link.passed} packets, {site.link.lost} lost"


SCENARIOS = [slow_lines, all_of_it, loss, delay, reorder, small_packets, pulled_while_sending, pulled_while_idle,
             pulled_at_the_server, flooded_slow_lines, loose_contact]


# --- one process for each ----------------------------------------------------------------------------

def run_here(scenario, minnow):
    try:
        print(scenario(minnow))
        return 0
    except Broken as broken:
        print(broken)
    except Exception:
        traceback.print_exc(file=sys.stdout)
    return 1


def run_apart(scenario, minnow):
    """Returns whether it passed, and what it said."""
    begin = time.monotonic()
    command = [sys.executable, __file__, "--minnow", minnow, "--here", scenario.__name__]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONGEST)
        passed, said = done.returncode == 0, done.stdout.strip()
    except subprocess.TimeoutExpired:
        passed, said = False, f"it takes longer than {LONGEST} s"
    print(f"{'ok  ' if passed else 'FAIL'} {scenario.__name__:20} {time.monotonic() - begin:5.1f} s  "
          f"{scenario.__doc__}\n     {said}", flush=True)
    return passed


def main():
    parser = argparse.ArgumentParser(description="Tests of minnow over bad networks.")
    parser.add_argument("--minnow", default="./minnow")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("scenario", nargs="*")
    arguments = parser.parse_args()
    chosen = [s for s in SCENARIOS if s.__name__ in arguments.scenario or not arguments.scenario]
    if os.geteuid() != 0:
        raise SystemExit("test-networks: network namespaces need root")
    if not os.path.exists("/dev/net/tun"):
        raise SystemExit("test-networks: no /dev/net/tun here; `modprobe tun` makes it")
    if arguments.here:
        raise SystemExit(run_here(chosen[0], arguments.minnow))
    with concurrent.futures.ThreadPoolExecutor(len(SCENARIOS)) as pool:
        passed = sum(pool.map(lambda scenario: run_apart(scenario, arguments.minnow), chosen))
    print(f"{passed} passed, {len(chosen) - passed} failed")
    raise SystemExit(passed < len(chosen))


main()
