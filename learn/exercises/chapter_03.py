"""Chapter 3: the opening handshake."""
import hashlib
import subprocess
import time

from attempt import DoesNotCompile, Exercise, named, sanitizer_line
from peer import Client, connect, request, until_end

LEVEL = ("--level", "handshake")


def break_it(attempt):
    failed = attempt.failing(*LEVEL, defines=("BROKEN=1",))
    if len(failed) != 35 or "handshake/answer/accept" not in failed:
        return f"with -DBROKEN=1, no trimming at all, 35 cases should fail; {named(failed)}"
    failed = attempt.failing(*LEVEL, defines=("BROKEN=2",))
    if len(failed) != 1:
        return f"with -DBROKEN=2, trimmed only before the value, one case should fail; {named(failed)}"
    return attempt.lacks(*LEVEL)


def chosen(server, *offers):
    """The values of Sec-WebSocket-Protocol in the answer."""
    with Client(server, fields=[f"Sec-WebSocket-Protocol: {offer}" for offer in offers]) as client:
        if not client.head.startswith("HTTP/1.1 101"):
            return [client.head.split("\r\n", maxsplit=1)[0]]
        lines = [line.partition(":") for line in client.head.split("\r\n")]
        return [value.strip() for name, _, value in lines if name.lower() == "sec-websocket-protocol"]


def subprotocol(attempt):
    with attempt.server() as server:
        for offers, due in ((["superchat, chat"], ["chat"]), (["chat"], ["chat"]), (["chat,superchat"], ["chat"]),
                            (["superchat", "chat"], ["chat"]), (["superchat, CHAT"], []), (["superchat"], []),
                            (["chatroom, superchat"], []), ([], [])):
            came = chosen(server, *offers)
            if came != due:
                said = " and ".join(repr(offer) for offer in offers) or "nothing"
                return f"{said} was offered; the answer should choose {due or 'nothing'}, it has {came or 'nothing'}"
    return attempt.lacks(*LEVEL)


def too_long(attempt):
    with attempt.server() as server:
        with Client(server, fields=["X: " + "x" * 7900]) as client:
            if not client.head.startswith("HTTP/1.1 101"):
                return f"a head of 8050 bytes is not too long: {client.head.splitlines()[0]}"
        for length in (8192, 9000):
            with connect(server) as s:
                s.sendall(b"GET / HTTP/1.1\r\nX: ".ljust(length, b"x"))
                came, ended = until_end(s, 2)
            first = came.decode("latin-1").split("\r\n")[0]
            if not first.startswith("HTTP/1.1 431 ") or len(first) < 14:
                return f"{length} bytes without the end of the head got {first!r}, not 'HTTP/1.1 431' and a phrase"
            if not ended:
                return "after 431 the connection stays open"
    return attempt.lacks(*LEVEL)


COUNT = """
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
static inline void *counted_memmem(const void *in, size_t len, const void *what, size_t n)
{
    fprintf(stderr, "searched %zu\\n", len);
    return memmem(in, len, what, n);
}
static inline char *counted_strstr(const char *in, const char *what)
{
    if (strcmp(what, "\\r\\n\\r\\n") == 0)
        fprintf(stderr, "searched %zu\\n", strlen(in));
    return (char *)strstr(in, what);
}
#define memmem counted_memmem
#undef strstr
#define strstr counted_strstr
"""


def each_byte_once(attempt):
    data = request("/", "X: " + "x" * 6000)
    with attempt.server(prelude=COUNT) as server:
        with connect(server) as s:
            for at in range(0, len(data), 40):
                s.sendall(data[at:at + 40])
                time.sleep(0.001)  # two pieces may still come with one read()
            answer = until_end(s, 0.2)[0]
        if not answer.startswith(b"HTTP/1.1 101"):
            return "a head that comes in pieces is not answered with 101"
        seen = sum(int(line.split()[1]) for line in server.stderr().splitlines() if line.startswith("searched "))
    if seen > 2 * len(data):  # three bytes of each piece are seen twice
        return f"a head of {len(data)} bytes came in pieces of 40, and {seen} bytes were searched"
    data = request()
    for cut in range(1, 4):  # the end itself is cut
        with attempt.server() as server, connect(server) as s:
            s.sendall(data[:-cut])
            time.sleep(0.05)
            s.sendall(data[-cut:])
            if not until_end(s, 0.1)[0].startswith(b"HTTP/1.1 101"):
                return f"when the last {cut} of the four bytes that end a head come apart, it is not answered"
    return attempt.lacks(*LEVEL)


HARNESS = """
#include <stdlib.h>
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        size_t len = (size_t)atoi(argv[i]);
        uint8_t *data = malloc(len + (len == 0)), out[20]; /* so that ASan sees a read behind the end */

        for (size_t at = 0; at < len; at++)
            data[at] = (uint8_t)(7 * at + 3);
        sha1(out, (void *)data, len);
        for (int at = 0; at < 20; at++)
            printf("%02x", out[at]);
        printf("\\n");
        fflush(stdout);
        free(data);
    }
}
"""


def sha1_of_any(attempt):
    attempt.binary()  # what does not compile is no missing function
    try:
        binary = attempt.harness(HARNESS)
    except DoesNotCompile:
        return "there is no function sha1(out, data, len) that can be called with uint8_t out[20], a pointer, a size_t"
    lengths = [*range(0, 200), 1000, 100000]
    run = subprocess.run([binary, *map(str, lengths)], capture_output=True, text=True, timeout=20, check=False)
    came = run.stdout.split()
    for length, hexadecimal in zip(lengths, came):
        due = hashlib.sha1(bytes((7 * at + 3) & 0xff for at in range(length))).hexdigest()
        if hexadecimal != due:
            return f"the SHA-1 of {length} bytes is wrong"
    if run.returncode != 0:
        return f"with {lengths[len(came)]} bytes: {sanitizer_line(run.stderr) or 'it crashed'}"
    if "sha1_of_60(" in attempt.source.read_text():
        return "sha1_of_60() is still there: use sha1() for the key as well"
    return attempt.lacks(*LEVEL)


EXERCISES = [
    Exercise(1, "break it", break_it),
    Exercise(2, "a subprotocol", subprotocol),
    Exercise(3, "a head that is too long", too_long),
    Exercise(4, "see each byte once", each_byte_once),
    Exercise(5, "SHA-1 of any length", sha1_of_any),
]
