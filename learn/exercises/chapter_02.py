"""Chapter 2: epoll."""
import itertools
import re
import socket
import struct
import threading
import time

from attempt import Exercise
from peer import connect, shown, until_end


def line_from(s, seconds=1):
    """The next line that comes, or what has come of it."""
    s.settimeout(seconds)
    data = b""
    try:
        while not data.endswith(b"\n"):
            more = s.recv(1)
            if not more:
                break
            data += more
    except OSError:
        pass
    return data


def how_many(attempt):
    with attempt.server() as server:
        clients = []
        for due in (b"1\n", b"2\n", b"3\n"):
            clients.append(connect(server))
            came = line_from(clients[-1])
            if came != due:
                return f"client {due.decode().strip()} got {shown(came)} when it had connected, not {shown(due)}"
        clients[0].sendall(b"hello\n")
        if line_from(clients[0]) != b"hello\n":
            return "after the number there is no echo"
        clients[0].close()
        clients[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        clients[1].close()  # with RST
        time.sleep(0.1)
        with connect(server) as s:
            came = line_from(s)
        clients[2].close()
        return None if came == b"2\n" else f"of three clients two went and one came; it got {shown(came)}, not '2\\n'"


READS = "read,readv,recvfrom,recvmsg"


def bytes_per_turn(calls):
    """The most that was read between two calls of epoll_wait()."""
    most = turn = 0
    # libc has been read before the first one
    for call in itertools.dropwhile(lambda c: not c.startswith(("epoll_wait", "epoll_pwait")), calls):
        if call.startswith("epoll_"):
            turn = 0
        elif (n := re.search(r"= (\d+)$", call)) and re.match(READS.replace(",", "|"), call):
            turn += int(n.group(1))
            most = max(most, turn)
    return most


def echoed(server, count, wait=0.0):
    """How many of so many bytes come back. Reading begins after the time."""
    with connect(server) as s:
        def send():
            try:
                s.sendall(bytes(count))
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass

        s.settimeout(5)
        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(wait)
        data, got, deadline = b"x", 0, time.monotonic() + 5
        try:
            while data and got < count and time.monotonic() < deadline:
                s.settimeout(0.7)
                data = s.recv(65536)
                got += data.count(0)
        except OSError:
            pass
        s.close()
        sender.join()
        return got


def edge_triggered(attempt):
    with attempt.server(strace=f"epoll_ctl,epoll_wait,epoll_pwait,{READS}") as server:
        came = echoed(server, 100000)
        calls = server.calls()
    if not any("EPOLL_CTL_ADD" in call and "EPOLLET" in call for call in calls):
        return "strace saw no epoll_ctl() with EPOLLET"
    if came != 100000:
        return f"{came} of 100000 bytes came back"
    with attempt.server() as server:
        came = echoed(server, 5000000, 0.2)
    if came != 5000000:
        return f"{came} of 5000000 bytes came back to a client that reads late: does write() wait until all is sent?"
    most = bytes_per_turn(calls)
    return f"{most} bytes were read from one client before the next epoll_wait(), not 16384 at most" \
        if most > 16384 else None


def no_busy_loop(attempt):
    with attempt.server() as server:
        before = server.descriptors()
        with connect(server) as s:
            s.sendall(b"hello\n")
            s.shutdown(socket.SHUT_WR)
            came, ended = until_end(s, 0.5)
            if ended:
                return f"the server has ended the connection after the client's FIN; there came {shown(came)}"
            if not came.endswith(b"hello\nbye\n"):
                return f"'hello\\n' and FIN were sent, there came {shown(came)}, not 'hello\\nbye\\n'"
            if server.cpu_seconds() > 0.2:
                return f"0.5 s after the client's FIN the server has taken {server.cpu_seconds():.2f} s of CPU time"
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.5)  # that client has sent RST
        if server.cpu_seconds() > 0.2:
            return "a connection with RST after FIN makes the server busy: its events are EPOLLHUP and EPOLLERR"
        if server.descriptors() > before:
            return "a connection that has got RST after FIN is never closed"
    return None


def many_clients(attempt):
    with attempt.server(descriptors=100) as server:
        clients, served, closed = [], [], []
        try:
            for i in range(300):  # not too fast: a full queue of the listener makes a client wait for a second
                clients.append(connect(server, timeout=4))
                time.sleep(0.01 if i % 50 == 49 else 0)
        except socket.timeout:
            return "clients for whom there is no descriptor are kept waiting: accept() fails, its listener stays ready"
        for s in clients:
            try:
                s.sendall(b"hi\n")
            except OSError:
                pass
        for s in clients:  # exercise 1 may have sent a number before
            (served if until_hi(s) else closed).append(s)
        if server.process.poll() is not None:
            return f"the server has ended when its 100 descriptors were in use: {server.stderr()}"
        if len(served) < 80:
            return f"with 100 descriptors, {len(served)} of 300 clients were served, not 80 or more"
        waiting = [s for s in closed if not until_end(s, 0.01)[1]]
        if waiting:
            return f"{len(waiting)} clients for whom there is no place were not closed"
        if server.cpu_seconds() > 1:
            return "with all descriptors in use the server is busy: accept() fails, and its listener is still ready"
        for s in served[:10]:
            s.close()
        time.sleep(0.1)
        with connect(server) as s:
            s.sendall(b"hi\n")
            if not until_hi(s):
                return "after ten clients have gone, a new one is not served"
        for s in clients:
            s.close()
    return None


def until_hi(s):
    while True:
        line = line_from(s, 0.3)
        if line == b"hi\n":
            return True
        if not line:
            return False


EXERCISES = [
    Exercise(1, "how many are here?", how_many),
    Exercise(2, "edge-triggered", edge_triggered),
    Exercise(3, "no busy loop", no_busy_loop),
    Exercise(4, "many clients", many_clients),
]
