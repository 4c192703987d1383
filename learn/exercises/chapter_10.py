"""Chapter 10: on the public internet."""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from attempt import Exercise
from exercises.measure import memory_kib
from exercises.variant import variant
from peer import BINARY, FIN, TEXT, Client, connect, frame, request, until_end

HERE = pathlib.Path(__file__).resolve().parent.parent
CONTINUATION, NO_MASK = 0, bytes(4)


def still_right(attempt):
    return attempt.lacks("--level", "http") or attempt.lacks("--only", "messages/fragments/*", jobs=1) \
        or attempt.lacks("--only", "closing/*", jobs=1)


def other_is_served(server, size=5):
    """Does a client of another address get its message back? All of 127.0.0.0/8 is this machine."""
    half = b"x" * size
    try:
        with Client(server, "/other", source="127.0.0.2") as client:
            client.send(half, TEXT)
            client.send(half, FIN | CONTINUATION)
            return client.receive() == 2 * half
    except OSError:
        return False


# --- so many for each address -----------------------------------------------------------------------------------------

def still_open(sockets):
    return [s for s in sockets if not until_end(s, 0.001)[1]]


def for_each_address(attempt):
    with attempt.server() as server:
        first = [connect(server) for _ in range(150)]
        time.sleep(0.3)
        kept = still_open(first)
        if len(kept) != 100:
            return f"150 connections come from one address, and {len(kept)} are open"
        if not other_is_served(server):
            return "100 connections of 127.0.0.1 are open, and a client of 127.0.0.2 is not served"
        for s in kept[:30]:
            s.close()
        time.sleep(0.3)
        later = [connect(server) for _ in range(50)]
        time.sleep(0.3)
        count = len(still_open(later))
        for s in first + later:
            s.close()
        if count != 30:
            return f"30 of 100 connections have ended, 50 come, and {count} are open, not 30"
    return still_right(attempt)


# --- no buffer for the idle -------------------------------------------------------------------------------------------

def no_buffer(attempt):
    big = bytes(100000)
    with attempt.server() as server, Client(server, "/1") as alice, Client(server, "/2") as bob:
        one, two = frame(FIN | TEXT, b"x" * 1000), frame(FIN | BINARY, big, NO_MASK)
        for a, b in ((3, 1), (500, 50000), (len(one) - 1, 13)):  # the buffer has other bytes in between
            alice.socket.sendall(one[:a])
            bob.socket.sendall(two[:b])
            time.sleep(0.05)
            alice.socket.sendall(one[a:])
            bob.socket.sendall(two[b:])
            if alice.receive() != b"x" * 1000 or bob.receive() != big:
                return "two clients send their frames in parts, one after the other, and do not get them back"
    with attempt.server(sanitized=False) as server:
        before, clients = memory_kib(server), [Client(server, f"/{i}") for i in range(200)]
        for client in clients:
            client.socket.sendall(two)
            client.receive()
        used = (memory_kib(server) - before) / 200
        for client in clients:
            client.socket.close()
    if used > 30:
        return f"an idle client that has sent a frame of 100,000 bytes costs {used:.0f} KiB"
    return what_is_left_over_counts(attempt) or attempt.lacks("--only", "frames/cut/*", jobs=1) or still_right(attempt)


def what_is_left_over_counts(attempt):
    """What is wrong with a program that may have 4 MiB in all, and gets 60 frames without their end; None: nothing."""
    text = re.sub(r"\bMEMORY_MAX = [0-9* ]+", "MEMORY_MAX = 4194304", attempt.source.read_text("utf-8"))
    part = frame(FIN | BINARY, bytes(100000), NO_MASK)[:90000]
    with variant(attempt, text) as small, small.server() as server:
        clients = [Client(server, "/tea") for _ in range(60)]
        for client in clients:
            client.socket.sendall(part)
        time.sleep(0.2)
        kept = len(still_open([client.socket for client in clients]))
        for client in clients:
            client.socket.close()
        time.sleep(0.2)
        if kept > 46:
            return f"with MEMORY_MAX as 4 MiB, {kept} clients have 90,000 bytes of a frame: count what is left"
        return None if other_is_served(server) else "memory of clients that have gone is not given back"


# --- a page -----------------------------------------------------------------------------------------------------------

def response(s):
    """The status, the fields in lower case, and the body of the next response."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = s.recv(1)
        if not more:
            raise OSError("the connection has ended in place of a response")
        head += more
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = b""
    while len(body) < int(fields.get("content-length", 0)):
        more = s.recv(int(fields["content-length"]) - len(body))
        if not more:
            raise OSError("the connection has ended within a response")
        body += more
    return status, fields, body.decode("utf-8")


def fault_of_page(status, fields, body):
    if not status.startswith("HTTP/1.1 200 "):
        return f"a GET without Upgrade is answered with {status}"
    if not fields.get("content-type", "").startswith("text/html"):
        return "the page has no Content-Type: text/html"
    script = re.search(r"<script[^>]*>(.*?)</script>", body, re.DOTALL)
    if not script or "new WebSocket(" not in script[1]:
        return "the page has no script that makes a WebSocket"
    if shutil.which("node"):
        check = subprocess.run(["node", "--check", "-"], input=script[1], text=True, capture_output=True, check=False)
        if check.returncode != 0:
            return f"the script of the page: {re.search('.*Error.*', check.stderr)[0]}"
    return None


def page(attempt):
    get = b"GET /tea HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with attempt.server() as server:
        with connect(server) as s:
            s.sendall(get)
            fault = fault_of_page(*response(s))
            if fault:
                return fault
            s.sendall(get + get[:20])
            response(s)
            s.sendall(get[20:] + request("/tea") + frame(FIN | TEXT, b"hi"))
            response(s)
            if not response(s)[0].startswith("HTTP/1.1 101 ") or s.recv(4) != b"\x81\x02hi":
                return "after three pages, a handshake on the same connection does not bring a chat"
        with connect(server) as s:
            s.sendall(get.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            response(s)
            if not until_end(s, 1)[1]:
                return 'after "Connection: close" the server does not end the connection'
        verdicts = attempt.grade(server, "--only", "http/sequence/*")
    odd = [name for name, verdict in verdicts.items() if verdict != "pass"]
    return f"wscheck does not pass {', '.join(odd)}" if odd else still_right(attempt)


# --- a fuzzer ---------------------------------------------------------------------------------------------------------

# A fault, what of the program is replaced to make it, and with what.
FAULTS = [
    ("read_header() looks at a second byte that has not come", "    if (len < 2)\n        return 0;\n", ""),
    ("read_header() looks at bytes of the length that have not come", "if (len < at + more +", "if (len < at +"),
    ("utf8() looks behind the end", "i < size && at + i < len; i++", "i < size; i++"),
    ("fault() allows a frame of any length", "return f->len > FRAME_MAX ? 1009 : 0;", "return 0;"),
]


def fuzzed(clang, fuzzer, program, runs):
    """Does the fuzzer find something in the program? Raises ValueError when it cannot be built."""
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "10_hostile.c").write_text(program, "utf-8")
        shutil.copy(fuzzer, os.path.join(directory, "fuzz.c"))
        build = subprocess.run([clang, "-g", "-O0", "-w", "-fsanitize=fuzzer,address,undefined",
                                "-fno-sanitize-recover=all", "fuzz.c", "-o", "fuzz"],
                               cwd=directory, capture_output=True, text=True, check=False)
        if build.returncode != 0:
            raise ValueError(build.stderr.strip().splitlines()[0])
        run = subprocess.run(["./fuzz", f"-runs={runs}", "-seed=1", "-max_len=64", "-max_total_time=10"], cwd=directory,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return run.returncode != 0


def fuzzer_of(attempt):
    clang, right = shutil.which("clang"), (HERE / "10_hostile.c").read_text("utf-8")
    if clang is None:
        return "this test needs clang, with libFuzzer"
    if "LLVMFuzzerTestOneInput" not in attempt.source.read_text("utf-8"):
        return f"{attempt.source.name} has no LLVMFuzzerTestOneInput()"
    programs = [right] + [right.replace(old, new) for _, old, new in FAULTS]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(fuzzed, clang, attempt.source, program, 20000 if program == right else 200000)
                for program in programs]
    try:
        found = [job.result() for job in jobs]
    except ValueError as fault:
        return f"it is not built next to 10_hostile.c: {fault}"
    if found[0]:
        return "it finds a fault in 10_hostile.c as it is in the course: is it one of its own?"
    missed = [what for (what, _, _), is_found in zip(FAULTS, found[1:]) if not is_found]
    return f"it does not find this fault: {missed[0]}" if missed else None


# --- one address, all memory ------------------------------------------------------------------------------------------

def one_address(server, count):
    """The attack: connections of one address begin a message of 550,000 bytes, and none ends it. For each the server
    has 1 MiB, as its memory doubles, until MEMORY_MAX is used up. Returns their sockets."""
    fragment = frame(CONTINUATION, bytes(110000), NO_MASK)
    begin = frame(BINARY, bytes(110000), NO_MASK) + 4 * fragment
    clients = []
    for i in range(count):
        try:
            clients.append(Client(server, f"/{i}"))
            clients[-1].socket.sendall(begin)
        except OSError:  # the server may end a connection that wants too much
            pass
    return [client.socket for client in clients]


def end_all(sockets):
    for s in sockets:
        s.close()
    time.sleep(0.3)


def the_last_one(attempt):
    with attempt.server(sanitized=False) as server, Client(server, "/tea"):  # one client of the address stays
        sockets = one_address(server, 300)
        served = other_is_served(server, 100000)
        end_all(sockets)
        if not served:
            return "300 clients of 127.0.0.1 have begun a message, and one of 127.0.0.2 does not get its own back"
        sockets = one_address(server, 100)
        time.sleep(0.3)
        kept = len(still_open(sockets))
        end_all(sockets)
        if kept < 100:
            return f"when 300 clients of 127.0.0.1 have gone, only {kept} of 100 new ones may begin a message"
    return still_right(attempt)


EXERCISES = [
    Exercise(1, "so many for each address", for_each_address),
    Exercise(2, "no buffer for the idle", no_buffer),
    Exercise(3, "a page", page),
    Exercise(4, "a fuzzer", fuzzer_of, file="fuzz.c"),
    Exercise(5, "the last one", the_last_one),
]
