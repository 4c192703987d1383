"""What a process has used, as the kernel counts it, and what a server uses for clients that are idle."""
import pathlib
import re
import time

from peer import FIN, PING, Client


def memory_kib(server, what="VmRSS"):
    """VmRSS: what is in memory; VmData: what it has asked for, used or not."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text("utf-8")
    return int(re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)[1])


def cpu_ms(server):
    """The time on a CPU so far, of a process that sleeps now. /proc/PID/stat has it in steps of 10 ms."""
    time.sleep(0.05)  # the kernel counts when it stops
    return int(pathlib.Path(f"/proc/{server.process.pid}/schedstat").read_text("utf-8").split()[0]) / 1e6


def cpu_of_pings(attempt, idle):
    """Milliseconds of CPU for 500 Pings and Pongs, one after the other, while others are connected and silent."""
    with attempt.server(sanitized=False) as server, Client(server) as alice:
        others = [Client(server) for _ in range(idle)]
        before = cpu_ms(server)
        for _ in range(500):
            alice.send(b"", FIN | PING)
            alice.next_frame()
        used = cpu_ms(server) - before
        for other in others:
            other.socket.close()
    return used


def idle_clients_cost(attempt):
    """Why clients that are connected and silent make the others cost more CPU; None: they do not."""
    alone, crowd = (min(cpu_of_pings(attempt, idle) for _ in range(2)) for idle in (0, 400))
    if crowd > 2 * alone + 3:
        return f"500 Pings need {alone:.0f} ms of CPU, and {crowd:.0f} ms while 400 other clients are idle"
    return None
