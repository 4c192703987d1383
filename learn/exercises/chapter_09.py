"""Chapter 9: deadlines."""
import concurrent.futures
import functools
import pathlib
import random
import re
import struct
import threading
import time

from attempt import Exercise
from exercises.measure import cpu_ms, idle_clients_cost
from exercises.variant import variant
from peer import BINARY, CLOSE, FIN, PING, PONG, TEXT, Client, connect, frame, masking, until_end

CONTINUATION, MASK0 = 0, bytes(4)


# --- a slow message ---------------------------------------------------------------------------------------------------

def drip(client, pieces, pause):
    """Send the pieces one after the other. Has the connection ended before the last one was handled?"""
    try:
        for piece in pieces:
            client.socket.sendall(piece)
            time.sleep(pause)
        client.send(b"the end", FIN | PING)
    except OSError:
        return True
    while (came := client.next_frame()) is not None:
        if came == (FIN | PONG, b"the end"):
            return False
    return True


def long_message():
    """300,000 bytes in three fragments, cut into pieces of 15,000 bytes."""
    data = b"".join(frame(first, bytes(100000), MASK0) for first in (BINARY, CONTINUATION, FIN | CONTINUATION))
    return [data[i:i + 15000] for i in range(0, len(data), 15000)]


def cut_texts(count):
    """Short texts, but each read() ends in the middle of one."""
    data = frame(FIN | TEXT, b"hello") * count
    return [data[:3]] + [data[i:i + 11] for i in range(3, len(data) - 11, 11)] + [data[-8:]]


# What a client sends; seconds between two pieces; whether it is to be given up when a message has one second.
SLOW = [
    ("a frame of which 1 byte comes each 0.25 s", [frame(FIN | TEXT, b"x" * 1000)[:8]] + [b"x"] * 10, 0.25, True),
    ("a message of which a fragment of 1 byte comes each 0.25 s, with Pings between them",
     [frame(TEXT, b"x")] + [frame(CONTINUATION, b"x"), frame(FIN | PING, b"")] * 6, 0.2, True),
    ("a message of 300,000 bytes that needs 2.5 s", long_message(), 0.12, False),
    ("texts of 5 bytes, of which the end of one comes with the beginning of the next each 0.25 s", cut_texts(9), 0.25,
     False),
    ("nothing", [b""] * 10, 0.25, False),
]


def slow_message(attempt):
    faults = []

    def play(server, number, what, pieces, pause, slow):
        with Client(server, f"/{number}") as client:
            ended = drip(client, pieces, pause)
        if ended != slow:
            done = "given up" if ended else "kept"
            faults.append(f"with 1 second for a message, a client is {done} that sends {what}")

    with attempt.server("30", "1") as server:
        threads = [threading.Thread(target=play, args=(server, i, *case)) for i, case in enumerate(SLOW)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return faults[0] if faults else attempt.lacks("--only", "messages/fragments/*", jobs=1)


# --- to sleep as long as possible -------------------------------------------------------------------------------------

def waits(server):
    """How often the process has waited so far."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text("utf-8")
    return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)[1])


def pinged_after(client, seconds):
    """The time until a Ping comes, or None."""
    client.socket.settimeout(seconds)
    start = time.monotonic()
    came = client.next_frame()
    return time.monotonic() - start if came and came[0] == FIN | PING else None


def sleep_long(attempt):
    return first_fault(lambda: sleeps(attempt), lambda: pings_in_time(attempt, 1.6), lambda: ends_in_time(attempt))


def first_fault(*plays):
    """They wait most of the time, so they are played at once."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return next(filter(None, pool.map(lambda play: play(), plays)), None)


def sleeps(attempt):
    with attempt.server("30", sanitized=False) as server, Client(server, "/tea"), Client(server, "/tea"):
        busy, before = cpu_ms(server), waits(server)
        time.sleep(2.5)
        woken, busy = waits(server) - before, cpu_ms(server) - busy
    if woken > 1 or busy > 100:
        return f"with two idle clients, the server was woken {woken} times in 2.5 s, and was busy for {busy:.0f} ms"
    return None


def pings_in_time(attempt, most):
    """Why not each of some clients gets its Ping, 1 to `most` seconds after its last byte; None: they do."""
    late = []

    def play(server, delay):
        time.sleep(delay)
        with Client(server, "/tea") as client:
            client.send(b"", FIN | PING)
            client.next_frame()
            for _ in range(2):
                after = pinged_after(client, 3)
                if after is None or not 0.9 < after < most:
                    late.append("does not come" if after is None else f"comes after {after:.1f} s")
                    return
                client.send(b"", FIN | PONG)

    with attempt.server("1") as server:
        threads = [threading.Thread(target=play, args=(server, i * 0.07)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return f"with a Ping after 1 second of silence, one {late[0]}" if late else None


def ends_in_time(attempt):
    """Which client is not given up, when all deadlines are half a second; None: all are."""
    text = re.sub(r"\b((HANDSHAKE|PONG|CLOSE)_MS) = \d+", r"\1 = 500", attempt.source.read_text("utf-8"))

    def half_a_head(server):
        return until_end(connect(server), 2.5)[1]

    def no_pong(server):
        return Client(server).ends_within(3.5)

    def no_fin(server):  # it has been given up when what we send is answered with RST
        client = Client(server)
        client.send(struct.pack("!H", 1000), FIN | CLOSE)
        time.sleep(2)
        try:
            for _ in range(2):
                client.send(b"")
                time.sleep(0.1)
        except OSError:
            return True
        return False

    clients = {"that sends no head": half_a_head, "that answers no Ping": no_pong, "that sends no FIN": no_fin}
    def alone(quick, what, play):  # on a server of its own, which nobody else wakes
        with quick.server("1") as server:
            return None if play(server) else f"a client is not given up {what}"

    with variant(attempt, text) as quick:
        return first_fault(*(functools.partial(alone, quick, *client) for client in clients.items()))


# --- the time of a Pong -----------------------------------------------------------------------------------------------

def times(server):
    """The numbers of milliseconds that the program has printed."""
    return [int(ms) for ms in re.findall(r"(\d+) ?ms", server.stderr())]


def send_pongs(client, *payloads):
    """And wait until all are handled."""
    for payload in payloads:
        client.send(payload, FIN | PONG)
    client.send(b"", FIN | PING)
    client.next_frame()


def how_far(attempt):
    with attempt.server("1") as server, Client(server, "/tea") as alice, Client(server, "/coffee") as bob:
        send_pongs(alice, b"", b"\0" * 8, b"12345678", b"x" * 125)
        ping = alice.next_frame()
        if ping is None or ping[0] != FIN | PING or not ping[1]:
            return "the Ping after one second of silence has no payload"
        other = bob.next_frame()
        if times(server):
            return "a time is printed for a Pong that nobody has asked for"
        time.sleep(0.3)
        send_pongs(alice, b"", ping[1][:-1], ping[1] + b"x", masking(ping[1], b"\1\0\0\0"))
        if times(server):
            return "a time is printed for a Pong with another payload than the Ping"
        send_pongs(alice, ping[1], ping[1])
        if len(times(server)) != 1:
            return f"the same Pong is sent twice, and {len(times(server))} times, as 300 ms, are printed on stderr"
        send_pongs(bob, other[1])
        for ms in times(server):
            if not 250 <= ms <= 900:
                return f"a Pong is sent 300 ms after the Ping, and {ms} ms are printed"
        if len(times(server)) != 2:
            return "for the Pong of a second client no time is printed"
    return attempt.lacks("--only", "messages/pong/*", jobs=1)


# --- a heap -----------------------------------------------------------------------------------------------------------

def heap(attempt):
    with attempt.server() as server:  # sanitized: clients go that stand anywhere in the heap
        rng = random.Random(9)
        clients = [Client(server) for _ in range(40)]
        for _ in range(3):
            rng.shuffle(clients)
            for client in clients[:20]:
                client.socket.close()
            clients = clients[20:] + [Client(server) for _ in range(20)]
            for client in clients:
                client.send(b"", FIN | PING)
                if client.next_frame() != (FIN | PONG, b""):
                    return "a client gets no Pong after others have gone"
    return idle_clients_cost(attempt) or first_fault(lambda: pings_in_time(attempt, 2.4), lambda: ends_in_time(attempt))


EXERCISES = [
    Exercise(1, "a slow message", slow_message),
    Exercise(2, "sleep as long as possible", sleep_long),
    Exercise(3, "how far away is it?", how_far),
    Exercise(4, "a heap", heap),
]
