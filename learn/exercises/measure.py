"""What a process has used, as the kernel counts it."""
import pathlib
import re
import time


def memory_kib(server, what="VmRSS"):
    """VmRSS: what is in memory; VmData: what it has asked for, used or not."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text("utf-8")
    return int(re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)[1])


def cpu_ms(server):
    """The time on a CPU so far, of a process that sleeps now. /proc/PID/stat has it in steps of 10 ms."""
    time.sleep(0.05)  # the kernel counts when it stops
    return int(pathlib.Path(f"/proc/{server.process.pid}/schedstat").read_text("utf-8").split()[0]) / 1e6
