# SPDX-License-Identifier: MIT
"""What run.py found, as Markdown tables, as plots, and in docs/performance.md."""

import os
import platform
import statistics
import subprocess
import time


def number(value):
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def size(value):
    return number(value) + " B" if value < 10000 else number(value / 1000) + " KB"


def median(rounds, key):
    return statistics.median(r[key] for r in rounds)


def middle_half(values):
    if len(values) < 2:
        return values[0], values[0]
    quarters = statistics.quantiles(values, n=4, method="inclusive")
    return quarters[0], quarters[2]


def ratios(results, baseline, name, key):
    """What the baseline takes divided by what the server does, round by round."""
    return [base[key] / own[key] for base, own in zip(results[baseline], results[name]) if own[key] > 0]


# --- tables ------------------------------------------------------------------------------------------


class Notes:
    """Reasons for dashes, numbered as they come up."""

    def __init__(self):
        self.texts = []

    def dash(self, reason):
        if not reason:
            return "-"
        if reason not in self.texts:
            self.texts.append(reason)
        return f"- <sup>{self.texts.index(reason) + 1}</sup>"

    def lines(self):
        return [f"{i + 1}. {text}" for i, text in enumerate(self.texts)]


def row(cells):
    return "| " + " | ".join(cells) + " |"


def header(first, names, last=()):
    cells = [first, *names, *last]
    return [row(cells), "|---" * len(cells) + "|"]


def cell(bench, w, results, name, notes):
    rounds = results.get(name)
    if not rounds:
        return notes.dash(bench.reasons.get((w.key, name)))
    value = median(rounds, w.value)
    if not w.ratio:
        return size(value) if w.unit == "B" else f"{number(value)} {w.unit}"
    if name == bench.baseline:
        return f"1.00 = {number(value)} {w.unit}"
    if not results.get(bench.baseline):
        return f"{number(value)} {w.unit}"
    each = ratios(results, bench.baseline, name, w.value)
    text = f"{statistics.median(each):.2f}"
    low, high = middle_half(each)
    return f"**{text}** ({low:.2f}-{high:.2f})" if name == "minnow" else text


def goal(w, results, baseline):
    """The goal and whether it is reached."""
    wanted = f"{w.target:.2f}" if w.ratio else f"{w.target:.0f} {w.unit}"
    if not results.get("minnow") or (w.ratio and not results.get(baseline)):
        return wanted, "-"
    if not w.ratio:
        return wanted, "yes" if round(median(results["minnow"], w.value)) <= w.target else "no"
    if reaches(w, results, baseline, "minnow"):
        return wanted, "yes"
    out_of_reach = baseline != "raw" and results.get("raw") and not reaches(w, results, baseline, "raw")
    return wanted, "no, nor does raw" if out_of_reach else "no"


def reaches(w, results, baseline, name):
    return round(statistics.median(ratios(results, baseline, name, w.value)), 2) >= w.target


def cost_table(bench, workloads, results, starts, notes):
    names = [s.name for s in bench.servers]
    no_size = {s.name: s.no_size for s in bench.servers}
    lines = header("workload", names, ("goal", "reached"))
    for w in workloads:
        cells = [cell(bench, w, results[w.key], name, notes) for name in names]
        lines.append(row([title(bench, w), *cells, *goal(w, results[w.key], bench.baseline)]))
    if starts:
        lines += start_rows(names, starts, no_size, notes)
    return lines


def start_rows(names, starts, no_size, notes):
    sizes, echo_sizes, times = [], [], []
    for name in names:
        program, echo, start = starts[name]
        sizes.append(size(program) if program else notes.dash(no_size[name]))
        echo_sizes.append(size(echo) if echo else notes.dash(no_size[name]))
        times.append(f"{number(start)} ms" if start else notes.dash("did not start"))
    program, _, start = starts.get("minnow", (None, None, None))
    reached = ["-" if not value else "yes" if value <= limit else "no"
               for value, limit in ((program, 100e3), (start, 5))]
    return [row(["stripped program, all that is in it", *sizes, "100 KB", reached[0]]),
            row(["stripped echo server, nothing else", *echo_sizes, "", ""]),
            row(["time from start to first accept", *times, "5 ms", reached[1]])]


def title(bench, w):
    """The title with the real numbers: the quick run opens fewer connections."""
    if bench.options.quick and w.quick_args:
        return w.title.replace("10,000", "2,000").replace("15,000", "2,000")
    return w.title


def speed_table(bench, workloads, results):
    names = [s.name for s in bench.servers]
    lines = header("messages/s, p50 / p99 / p99.9 latency", names)
    for w in workloads:
        if w.unit == "B":
            continue
        cells = []
        for name in names:
            rounds = results[w.key].get(name)
            same = name != "raw" or (w.raw_times == 1 and not w.raw_mode)
            cells.append(speed(rounds) if rounds and same else "-")
        lines.append(row([title(bench, w), *cells]))
    return lines


def speed(rounds):
    times = [microseconds(median(rounds, f"p{p}_us")) for p in ("50", "99", "999")]
    return f"{number(median(rounds, 'messages_per_s'))}/s, {' / '.join(times)}"


def microseconds(value):
    return f"{number(value / 1000)} ms" if value >= 1000 else f"{number(value)} us"


def output_of(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if lines else ""


def npm_version(package):
    here = os.path.dirname(os.path.abspath(__file__))
    return output_of("node", "-p", f"require('{here}/node_modules/{package}/package.json').version")


def processor():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def congestion_control():
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as f:
        return f.read().strip()


def circumstances(bench):
    o = bench.options
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / 1e6
    versions = {
        "gcc": output_of("gcc", "-dumpfullversion"),
        "node": output_of("node", "--version").removeprefix("v"),
        "ws": npm_version("ws"),
        "socket.io": npm_version("socket.io"),
        "libwebsockets": output_of("dpkg-query", "-W", "-f", "${Version}", "libwebsockets-dev"),
        "websockets": output_of("dpkg-query", "-W", "-f", "${Version}", "python3-websockets"),
    }
    load = os.getloadavg()[0]
    return [
        f"- Date: {time.strftime('%Y-%m-%d')}; commit {output_of('git', 'rev-parse', '--short', 'HEAD') or 'unknown'}",
        f"- Command: `{o.command}`",
        f"- Machine: {processor()}, {os.cpu_count()} cores, {memory:.0f} GB, Linux {platform.release()}, "
        f"{congestion_control()}; servers on core {o.server_core}, load on core {o.load_core}; "
        f"load average at the end {load:.1f}",
        f"- {o.rounds} rounds at most, of {o.duration:g} s each after {o.warmup:g} s of warm-up",
        "- Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items() if version),
    ]


def tables(bench, workloads, results, rate, starts):
    notes = Notes()
    lines = ["### Cost", "",
             "Processor time of the server per message, as raw divided by server: 1.00 is what the kernel alone "
             "takes to move the same bytes; more is better. In brackets: the range of the middle half of the rounds.", ""]
    lines += cost_table(bench, workloads, results, starts, notes)
    if notes.texts:
        lines += [""] + notes.lines()
    lines += ["", "### Speed", "",
              "Each reply is followed by the next message at once, so latency is mostly time in a queue.", ""]
    lines += speed_table(bench, workloads, results)
    rate_workload, rate_results = rate
    if rate_results:
        lines += ["", "### Latency at a fixed rate", "",
                  "10,000 messages per second over 200 connections; latency counts from the time at which a message was "
                  "due.", ""]
        lines += speed_table(bench, [rate_workload], {rate_workload.key: rate_results})
    lines += ["", "### Circumstances", ""] + circumstances(bench)
    return "\n".join(lines) + "\n"


def socketio_tables(bench, workloads, results):
    notes = Notes()
    lines = ["### Cost of Socket.IO", "",
             "Processor time of the server per message, as npm socket.io divided by server: 5.00 is five times "
             "the messages per second of processor time, more is better. raw moves the same frames and does "
             "nothing else, so no server can reach more than raw.", ""]
    lines += cost_table(bench, workloads, results, {}, notes)
    if notes.texts:
        lines += [""] + notes.lines()
    lines += ["", "### Speed of Socket.IO", ""] + speed_table(bench, workloads, results)
    lines += ["", "### Circumstances", ""] + circumstances(bench)
    return "\n".join(lines) + "\n"


def write_document(path, text, command):
    """Replace the part that `command` generates; the text around it is not changed."""
    begin = f"<!-- generated by `{command}`: begin -->"
    end = f"<!-- generated by `{command}`: end -->"
    with open(path) as f:
        document = f.read()
    before, rest = document.split(begin, 1)
    after = rest.split(end, 1)[1]
    with open(path, "w") as f:
        f.write(f"{before}{begin}\n\n{text}\n{end}{after}")


# --- plots -------------------------------------------------------------------------------------------


def plot(data, svg, name, x, y, lines):
    """Write `data`.SERVER files and draw them with gnuplot."""
    curves = []
    for server, points in lines.items():
        if not points:
            continue
        path = f"{data}.{server}"
        with open(path, "w") as f:
            f.writelines(f"{px} {py}\n" for px, py in points)
        width = 3 if server in ("minnow", "raw") else 1.5
        dash = " dashtype 2" if server == "raw" else ""
        curves.append(f'"{path}" with linespoints pointtype 7 pointsize 0.4 linewidth {width}{dash} title "{server}"')
    script = f"""
set terminal svg size 760,420 font "sans-serif,13" background "white"
set output "{svg}"
set title "{name}"
set xlabel "{x}"
set ylabel "{y}"
set logscale xy
set format x "%.0s%c"
set format y "%.0s%c"
set grid
set key outside right top
plot {", ".join(curves)}
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)
