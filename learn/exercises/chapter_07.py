"""Chapter 7: a chat."""
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile

from attempt import Attempt, Exercise
from exercises.measure import cpu_ms, memory_kib
from peer import CLOSE, FIN, PING, PONG, TEXT, Client, frame

HERE = pathlib.Path(__file__).resolve().parent.parent
BINARY, CONTINUATION = 2, 0


def gets_nothing(client):
    """Nothing is there for the client: the next frame is the answer to a Ping that we send now."""
    client.send(b"", FIN | PING)
    return client.next_frame() == (FIN | PONG, b"")


def reset(client):
    """End the connection with RST, as a program that crashes may do."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def not_to_the_sender(attempt):
    with attempt.server() as server, Client(server, "/tea") as alice, Client(server, "/tea") as bob, \
            Client(server, "/tea") as carol, Client(server, "/coffee") as other:
        alice.send(b"hi")
        if bob.receive() != b"hi" or carol.receive() != b"hi":
            return "a message of Alice does not come to all the others in her room"
        if not gets_nothing(alice):
            return "Alice gets her own message"
        bob.socket.sendall(frame(TEXT, b"he") + frame(FIN | CONTINUATION, b"llo"))
        if alice.receive() != b"hello" or carol.receive() != b"hello" or not gets_nothing(bob):
            return "a message of Bob, in two fragments, does not come to all the others alone"
        return None if gets_nothing(other) else "a client of another room gets something"


# The ways in which Bob may go, and whether his connection has then ended on his side.
GOINGS = [
    ("sends a Close", lambda bob: bob.send(struct.pack("!H", 1000), FIN | CLOSE)),
    ("sends FIN", lambda bob: bob.socket.shutdown(socket.SHUT_WR)),
    ("sends RST", reset),
    ("breaks the protocol", lambda bob: bob.socket.sendall(frame(FIN | 3))),
]


def who_comes_who_goes(attempt):
    with attempt.server() as server, Client(server, "/tea") as alice, Client(server, "/coffee") as other:
        for how, go in GOINGS:
            bob = Client(server, "/tea")
            came = alice.next_frame()
            if came is None or came[0] != FIN | TEXT:
                return "Alice gets no text when Bob comes to her room"
            if not gets_nothing(bob):
                return "Bob gets a message when he comes"
            go(bob)
            went = alice.next_frame()
            bob.socket.close()
            if went is None or went[0] != FIN | TEXT:
                return f"Alice gets no text when Bob {how}"
            if went == came:
                return f'"{went[1].decode()}" comes when Bob comes and when he goes'
            if not gets_nothing(alice):
                return f"Alice gets more than one text when Bob {how}"
        if not gets_nothing(other):
            return "a client of another room gets a text"
    return attempt.lacks("--only", "messages/ping-between/*", jobs=1)


def names(attempt):
    with attempt.server() as server, Client(server, "/tea?name=Alice") as alice, Client(server, "/tea") as bob:
        for sender, payload, due in ((alice, b"hi", b"Alice: hi"), (bob, b"ho", b"ho"), (alice, b"", b"Alice: ")):
            sender.send(payload)
            for who, client in (("Alice", alice), ("Bob", bob)):
                came = client.receive()
                if came != due:
                    return f"{who} gets {shown(came)}, not {shown(due)}"
        alice.socket.sendall(frame(TEXT, b"\xe2\x82") + frame(FIN | CONTINUATION, b"\xac"))
        if bob.receive() != "Alice: €".encode():
            return "two fragments of Alice do not come as one message with one name before it"
        for query, due in (("?name=J%c3%BCrgen", "Jürgen: hi"), ("?x=1&name=A%42", "AB: hi"), ("?xname=A", "hi")):
            with Client(server, "/coffee" + query) as carol:
                carol.send(b"hi")
                came = carol.receive()
                if came != due.encode():
                    return f"with /coffee{query}, 'hi' comes as {shown(came)}, not {due!r}"
        for query in ("a%0ab", "%00", "%7f", "%ff", "%e2%82", "%4", "%zz", "x" * 2000):
            with Client(server, "/tea?name=" + query) as carol:
                if not carol.head.startswith("HTTP/1.1 400 "):
                    return f"?name={query[:10]} is answered with {carol.head.splitlines()[0]}, not with 400"
    return attempt.lacks("--only", "messages/ping-between/*", jobs=1)


def shown(data):
    return "nothing" if data is None else repr(data)[1:]


def cpu_of_messages(attempt, others):
    """Milliseconds of CPU for 2,000 messages that come at once, in a room of one client, with others elsewhere."""
    with attempt.server(sanitized=False) as server, Client(server, "/tea") as alice:
        elsewhere = [Client(server, f"/coffee/{i}") for i in range(others)]
        before = cpu_ms(server)
        alice.socket.sendall(frame(FIN | TEXT, b"hi") * 2000)
        alice.exactly(2000 * 4)
        used = cpu_ms(server) - before
        for client in elsewhere:
            client.socket.close()
    return used


def memory_of_rooms(attempt):
    """KiB that are left of 300 rooms, with names of 8,000 bytes, that nobody is in any more."""
    with attempt.server(sanitized=False) as server:
        for rooms in (20, 300):
            before = memory_kib(server)
            for i in range(rooms):
                with Client(server, f"/{i:08}" + "x" * 7900):
                    pass
        with Client(server) as client:  # the last one has been freed when this one is served
            gets_nothing(client)
        return memory_kib(server) - before


def rooms_as_lists(attempt):
    with attempt.server() as server:  # sanitized: who comes and goes in which order
        for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)):
            members = [Client(server, "/tea") for _ in range(3)] + [Client(server, "/coffee")]
            for gone, i in enumerate(order):
                members[i].send(b"hi")
                for j in order[gone:]:
                    if members[j].receive() != b"hi":
                        return "a message does not come to all that are still in the room"
                reset(members[i])
            if not gets_nothing(members[3]):
                return "a client of another room gets a message"
            members[3].socket.close()
    alone, crowd = (min(cpu_of_messages(attempt, others) for _ in range(2)) for others in (0, 400))
    if crowd > 3 * alone + 3:
        return f"2,000 messages need {alone:.0f} ms of CPU, and {crowd:.0f} ms with 400 clients in other rooms"
    left = memory_of_rooms(attempt)
    return f"300 rooms that nobody is in any more still need {left} KiB" if left > 1000 else None


# --- a client that makes a server with a fault use freed memory -------------------------------------------------------

PUBLISH = re.compile(r"(static void publish\(struct server \*s, .*?\n\{\n).*?\n\}\n", re.DOTALL)
FREES_TOO_EARLY = r"""\1    for (struct client **link = &s->clients; *link != NULL;) {
        struct client *c = *link;

        if (c != from && c->open && !c->closing && !c->gone && strcmp(c->room, from->room) == 0 &&
            !send_frame(c, opcode, payload, len)) {
            *link = c->next;
            close(c->fd);
            free(c->message);
            free(c); /* too early */
        } else {
            link = &c->next;
        }
    }
}
"""


def errors_after(attempt, source):
    """What AddressSanitizer says of the program while the attempt, a client in Python, plays against it."""
    server = Attempt(source, attempt.compiler, attempt.wscheck).server(may_end=True)
    with server:
        try:
            subprocess.run([sys.executable, attempt.source, str(server.port)], timeout=10, check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           env={**os.environ, "PYTHONPATH": str(HERE)})
        except subprocess.TimeoutExpired:
            pass
        server.ends_within(0.5)
        return server.stderr()


def free_too_early(attempt):
    if attempt.source.suffix != ".py":
        return f"{attempt.source.name} is no client in Python: write attack.py"
    right = HERE / "07_chat.c"
    with tempfile.TemporaryDirectory() as directory:
        broken = pathlib.Path(directory, "broken.c")
        broken.write_text(PUBLISH.sub(FREES_TOO_EARLY, right.read_text("utf-8"), count=1), "utf-8")
        if "heap-use-after-free" not in errors_after(attempt, broken):
            return "with this client, the broken server does not use freed memory"
    if "Sanitizer" in errors_after(attempt, right):
        return "with this client, 07_chat.c uses freed memory, too: is it the program of the course?"
    return None


EXERCISES = [
    Exercise(1, "not to the sender", not_to_the_sender),
    Exercise(2, "who comes, who goes", who_comes_who_goes),
    Exercise(3, "names", names),
    Exercise(4, "rooms as lists", rooms_as_lists),
    Exercise(5, "free too early", free_too_early, file="attack.py"),
]
