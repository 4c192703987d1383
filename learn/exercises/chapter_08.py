"""Chapter 8: backpressure."""
import contextlib
import pathlib
import re
import signal
import time

from attempt import Exercise
from exercises.measure import idle_clients_cost, memory_kib
from exercises.variant import variant
from peer import CLOSE, FIN, TEXT, Client, frame

CONTINUATION = 0

# The program on a slow network: a call of send() takes 2,000 bytes at most, and the socket of the first client nothing
# more than its head, until SIGUSR1 allows 20,000 bytes. On one machine a socket takes megabytes at once.
# SIGUSR1 also tells how many bytes were copied and moved.
SLOW_NETWORK = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static size_t copied;
static volatile size_t allowed = 129; /* the 101 */
static int limited = -1;

static ssize_t slow_send(int fd, const void *data, size_t len, int flags)
{
    size_t most = 2000;
    ssize_t n;

    if (limited < 0)
        limited = fd;
    if (LIMIT && fd == limited && allowed < most)
        most = allowed;
    if (most == 0) {
        errno = EAGAIN;
        return -1;
    }
    n = send(fd, data, len < most ? len : most, flags);
    if (n > 0 && fd == limited)
        allowed -= LIMIT ? (size_t)n : 0;
    return n;
}

static void *counted_memmove(void *to, const void *from, size_t len)
{
    copied += len;
    return memmove(to, from, len);
}

static void on_signal(int signal)
{
    (void)signal;
    allowed += 20000;
    dprintf(2, "copied %zu\n", copied);
}

__attribute__((constructor)) static void ready(void)
{
    signal(SIGUSR1, on_signal);
}

#define send slow_send
#define memmove counted_memmove
#define memcpy counted_memmove
#include "PROGRAM"
"""


@contextlib.contextmanager
def slow_server(attempt, limit, **options):
    with variant(attempt, SLOW_NETWORK.replace("PROGRAM", str(attempt.source.resolve()))) as slow, \
            slow.server(defines=[f"LIMIT={limit}"], **options) as server:
        yield server


def text(i, size=2000):
    """Of `size` bytes with the header of its frame, for sizes above 129."""
    return b"%05d" % i + b"x" * (size - 9)


def send_texts(client, numbers, size=2000):
    """Sends them to its room, and waits until each has come back."""
    for i in numbers:
        client.send(text(i, size))
        if client.receive() != text(i, size):
            raise OSError("Alice does not get back what she has sent")


def comes_within(client, payload, seconds):
    client.socket.settimeout(seconds)
    came = client.receive()
    client.socket.settimeout(5)
    return came == payload


def two_marks(attempt):
    with slow_server(attempt, 1) as server, Client(server, "/tea") as bob, Client(server, "/tea") as alice:
        send_texts(alice, range(35))
        bob.send(b"one")
        if comes_within(alice, b"one", 0.2):
            return "Bob is read with 70,000 bytes in his queue"
        server.process.send_signal(signal.SIGUSR1)
        if comes_within(alice, b"one", 0.2):
            return "Bob is read again with 50,000 bytes in his queue: OUT_HIGH / 2 is 32,768"
        server.process.send_signal(signal.SIGUSR1)
        if not comes_within(alice, b"one", 2):
            return "Bob is not read again with 30,000 bytes in his queue"
        send_texts(alice, range(35, 45))
        bob.send(b"two")
        if not comes_within(alice, b"two", 2):
            return "Bob is not read with 50,000 bytes in his queue, before there were more than OUT_HIGH"
    return not_blocked(attempt)


def not_blocked(attempt):
    """Why one who does not read stops the others, or is not given up; None: all is well."""
    with attempt.server() as server, Client(server, "/tea", 4096) as bob, Client(server, "/tea") as alice:
        send_texts(alice, range(150), 60000)
        if not bob.ends_within(5):
            return "9 MB were sent to Bob, who does not read, and he is not given up"
    return attempt.lacks("--only", "messages/fragments/*", jobs=1) or attempt.lacks("--only", "closing/*", jobs=1)


def allow(server, times):
    """So often 20,000 bytes more to the first client."""
    for _ in range(times):
        server.process.send_signal(signal.SIGUSR1)
        time.sleep(0.05)


def no_memmove(attempt):
    size, count = 1000000, 12
    with slow_server(attempt, 1) as server, Client(server, "/tea") as bob, Client(server, "/tea") as alice:
        for i in (0, 25, 30):  # a part of the queue has gone when the next messages come
            send_texts(alice, range(i, i + 25 if i == 0 else i + 5))
            allow(server, 2)
        if any(bob.receive() != text(i) for i in range(35)):
            return "Bob, whose network is slow, does not get what was sent to him"
    with slow_server(attempt, 0, sanitized=False) as server, Client(server, "/tea") as alice:
        before = memory_kib(server)
        for i in range(count):
            for k in range(20):
                alice.send(bytes([97 + i]) * (size // 20), (CONTINUATION if k else TEXT) | (FIN if k == 19 else 0))
            if alice.receive() != bytes([97 + i]) * size:
                return f"with a slow network, Alice does not get back her message of {size:,} bytes"
        used = (memory_kib(server) - before) / 1024
        allow(server, 1)
        copied = int(re.findall(r"copied (\d+)", server.stderr())[-1]) / (size * count)
    if copied > 10:
        return f"for each byte that a slow client gets, {copied:.0f} are copied or moved"
    if used > 8:
        return f"the server needs {used:.0f} MiB after {count} messages of {size:,} bytes, which have gone"
    return not_blocked(attempt)


def only_the_touched(attempt):
    with attempt.server() as server:  # sanitized: is who is gone freed once, and can others still be served?
        for _ in range(10):
            clients = [Client(server, "/tea") for _ in range(5)]
            send_texts(clients[0], range(1), 200)
            for client in (clients[2], clients[0], clients[4]):
                client.socket.close()
            clients[1].send(b"\0\0", FIN | CLOSE)
            clients[3].send(b"still there?")
            while clients[3].receive() not in (b"still there?", None):
                pass
        send_texts(clients[3], range(1), 200)
    with attempt.server(sanitized=False) as server:
        before = len(descriptors(server))
        for _ in range(20):
            Client(server).socket.close()
        time.sleep(0.1)
        if len(descriptors(server)) > before:
            return "clients that are gone stay open: settle() does not come to them"
    return idle_clients_cost(attempt) or reads_late(attempt) or not_blocked(attempt)


def reads_late(attempt):
    """Why Bob, who does not read for a while, does not get all in the end; None: he does."""
    with attempt.server() as server, Client(server, "/tea", 4096) as bob, Client(server, "/tea") as alice:
        send_texts(alice, range(66), 60000)
        if any(bob.receive() != text(i, 60000) for i in range(66)):
            return "4 MB were sent to Bob, who reads late, and he does not get all of it"
    return None


def descriptors(server):
    return list(pathlib.Path(f"/proc/{server.process.pid}/fd").iterdir())


def skip(attempt):
    with attempt.server() as server, Client(server, "/tea", 4096) as bob, Client(server, "/tea") as alice:
        send_texts(alice, range(150), 60000)
        came, told = 0, 0
        while came + told < 150:
            payload = bob.receive()
            if payload == text(came, 60000) and not told:
                came += 1
            elif payload is None or payload[:1].isdigit() and len(payload) > 1000:
                return f"{came} of 150 messages have come to Bob, and " + (
                    f"then number {int(payload[:5]) + 1} without a word" if payload else "no word of the others")
            else:
                told = sum(map(int, re.findall(rb"\d+", payload)))
                if came + told != 150:
                    return f'{came} of 150 messages have come to Bob, and then "{payload.decode()}"'
        if not told:
            return "all 150 messages have come to Bob: his queue was above 1 MiB"
        alice.send(b"still there?")
        if bob.receive() != b"still there?":
            return "the connection of Bob does not go on when he reads again"
    return attempt.lacks("--only", "messages/fragments/*", jobs=1) or attempt.lacks("--only", "closing/*", jobs=1)


def one_copy(attempt):
    with attempt.server(sanitized=False) as server, Client(server, "/tea") as alice:
        slow = [Client(server, "/tea", 4096) for _ in range(30)]
        before = memory_kib(server)
        send_texts(alice, range(66), 60000)
        used = (memory_kib(server) - before) / 1024
        if used > 12:
            return f"4 MB to 30 clients that do not read need {used:.0f} MiB"
        for client in slow:
            client.socket.close()
    with attempt.server() as server:  # sanitized: the last one of a room frees what is left
        for _ in range(3):
            alice, others = Client(server, "/tea"), [Client(server, "/tea", 4096) for _ in range(2)]
            send_texts(alice, range(66), 60000)
            for client in (others[0], alice, others[1]):
                client.socket.close()
    return reads_late(attempt) or not_blocked(attempt)


EXERCISES = [
    Exercise(1, "two marks", two_marks),
    Exercise(2, "no memmove", no_memmove),
    Exercise(3, "only those that were touched", only_the_touched),
    Exercise(4, "skip in place of giving up", skip),
    Exercise(5, "one copy for a room", one_copy),
]
