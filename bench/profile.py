# SPDX-License-Identifier: MIT
"""Where a server's processor time goes, measured by perf.

perf interrupts the server 5,000 times per second of its processor time. The share of these samples in
the kernel, in libc and in the server's own functions, times the cost of a message, is what each costs. The
kernel's functions are counted as one; a program's are named only if it has symbols.
"""

import re
import subprocess

import report

SAMPLES_PER_S = 5000
SAMPLES_MIN = 2000  # with fewer, a share of 2 % would be only 40 samples
NAMED = 5  # of the server's own functions
HEADER = ("server", "ns per message", "kernel", "libc", "own", "of which the most expensive")


def record(pid, seconds, data):
    """Sample the process for that time. Returns {(object, function): share}."""
    subprocess.run(["perf", "record", "--quiet", "--event", "cpu-clock", "--freq", str(SAMPLES_PER_S),
                    "--pid", str(pid), "--output", data, "--", "sleep", str(seconds)], check=True, capture_output=True)
    done = subprocess.run(["perf", "report", "--input", data, "--stdio", "--sort", "dso,symbol", "--show-nr-samples",
                           "--percent-limit", "0"], check=True, capture_output=True, text=True)
    counts = {}
    for line in done.stdout.splitlines():
        found = re.match(r"\s*[\d.]+%\s+(\d+)\s+(\S+)\s+\[(.)\]\s+([^.@\s]+)", line)
        if found:
            count, dso, space, symbol = found.groups()
            key = ("kernel" if space == "k" else dso, symbol)
            counts[key] = counts.get(key, 0) + int(count)
    total = sum(counts.values())
    if total < SAMPLES_MIN:
        raise ValueError(f"{total} samples only")
    return {key: count / total for key, count in counts.items()}


def ns(value):
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def cells(name, cost, shares):
    """The cells of HEADER, for a message that costs that many ns."""
    kernel = sum(share for (dso, _), share in shares.items() if dso == "kernel")
    own = {symbol: share for (dso, symbol), share in shares.items()
           if dso != "kernel" and not dso.startswith(("libc.", "libc-", "[vdso]", "ld-"))}
    dearest = sorted(own.items(), key=lambda item: -item[1])[:NAMED]
    named = ", ".join(f"{symbol} {ns(share * cost)}" for symbol, share in dearest)
    return [name, ns(cost), ns(kernel * cost), ns((1 - kernel - sum(own.values())) * cost),
            ns(sum(own.values()) * cost), named]


def tables(bench, rows):
    """`rows` are (title, cells)."""
    lines = ["### Where the time goes", "",
             f"From samples by perf, {SAMPLES_PER_S:,} per second of processor time.", ""]
    lines += report.header("workload", HEADER)
    lines += [report.row([title, *cells]) for title, cells in rows]
    lines += ["", "### Circumstances", "", *report.circumstances(bench)]
    return "\n".join(lines) + "\n"
