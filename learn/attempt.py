"""What the tests of the exercises have in common: a program is compiled, started, graded.

A module exercises/chapter_NN.py has a list EXERCISES. The test of an exercise is a function that gets an Attempt. It
returns None when the exercise is done, else the reason why it is not yet, as a text for the student.
"""
import dataclasses
import json
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
from typing import Callable

from peer import NotListening, Server

FLAGS = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]


@dataclasses.dataclass(frozen=True)
class Exercise:
    """`file`: the program to write, for an exercise that is not a change of the chapter's own program."""
    number: int
    title: str
    test: Callable
    file: str = None


class DoesNotCompile(Exception):
    """With what the compiler said."""


class Compiler:
    """Compiles each program once for the same options. Several threads may ask."""

    def __init__(self, cc, directory):
        self.cc, self.directory = cc, pathlib.Path(directory)
        self.lock, self.programs = threading.Lock(), {}
        self.sanitizers = SANITIZERS if self.can_link(SANITIZERS) else []

    def can_link(self, flags):
        run = subprocess.run([self.cc, *flags, "-x", "c", "-", "-o", self.directory / "probe"], check=False,
                             input=b"int main(void) { return 0; }\n", stderr=subprocess.DEVNULL)
        return run.returncode == 0

    def compile(self, source, defines=(), sanitized=True, prelude=""):
        """The path of the binary. Raises DoesNotCompile."""
        key = (source, *defines, sanitized, prelude)
        with self.lock:
            lock, done = self.programs.setdefault(key, (threading.Lock(), {}))
            binary = self.directory / f"{source.stem}-{len(self.programs)}"
        with lock:
            if not done:
                flags = [*FLAGS, *(self.sanitizers if sanitized else []), *(f"-D{name}" for name in defines)]
                if prelude:
                    binary.with_suffix(".h").write_text(prelude)
                    flags += ["-include", binary.with_suffix(".h")]
                run = subprocess.run([self.cc, *flags, "-o", binary, source], capture_output=True, encoding="utf-8",
                                     errors="replace", check=False)
                done.update(binary=binary, error=run.stderr if run.returncode != 0 else None)
        if done["error"] is not None:
            raise DoesNotCompile(done["error"])
        return done["binary"]


class Attempt:
    """A program, of a student or with a solution, that one exercise is tried on."""

    def __init__(self, source, compiler, wscheck):
        self.source, self.compiler, self.wscheck = pathlib.Path(source), compiler, wscheck
        self.servers = []

    def binary(self, *defines, sanitized=True, prelude=""):
        """The compiled program. `defines`: macros, as in "BROKEN=1". Sanitized: with ASan and UBSan. `prelude`: C that
        comes before the first line of the program."""
        return str(self.compiler.compile(self.source, defines, sanitized, prelude))

    def harness(self, code):
        """A program with a main() of ours and all functions of theirs, compiled. Raises DoesNotCompile."""
        with tempfile.NamedTemporaryFile("w", suffix=".c", dir=self.compiler.directory, delete=False) as file:
            file.write(f'#define main main_of_theirs\n#include "{self.source.resolve()}"\n#undef main\n{code}')
        return str(self.compiler.compile(pathlib.Path(file.name)))

    def server(self, *arguments, defines=(), sanitized=True, prelude="", may_end=False, may_crash=False, **options):
        """The program as a Server of peer.py. When it ends by itself, or a sanitizer finds something, the exercise is
        not done, unless it may."""
        binary = self.binary(*defines, sanitized=sanitized, prelude=prelude)
        server = Server(binary, *arguments, keep_stderr=True, **options)
        if not may_crash:
            self.servers.append((server, may_end))
        return server

    def grade(self, server, *arguments, jobs=64, timeout=2):
        """The verdicts of wscheck: {"frames/length/text-5": "pass", ...}. Arguments: as "--level", "frames"."""
        run = subprocess.run([self.wscheck, *arguments, "--format", "json", "--jobs", str(jobs), "--timeout",
                              str(timeout), f"ws://127.0.0.1:{server.port}/"], capture_output=True, text=True,
                             check=False)
        if run.returncode not in (0, 1):
            raise OSError(f"wscheck: {run.stderr.strip()}")
        return {case["name"]: case["verdict"] for case in json.loads(run.stdout)["cases"]}

    def failing(self, *arguments, server=(), defines=(), **options):
        """The cases of wscheck that fail. `server`: arguments of the program."""
        with self.server(*server, defines=defines) as running:
            return [name for name, verdict in self.grade(running, *arguments, **options).items() if verdict == "fail"]

    def lacks(self, *arguments, **options):
        """Why wscheck with these arguments does not pass, else None."""
        failed = self.failing(*arguments, **options)
        return f"wscheck {' '.join(arguments)}: {named(failed)}" if failed else None

    def report(self):
        """What a sanitizer has found in a server, else None."""
        lines = [sanitizer_line(server.stderr()) for server, _ in self.servers]
        return next((f"the server: {line}" for line in lines if line), None)

    def death(self):
        """How a server ended that should have lived on, else None."""
        for server, may_end in self.servers:
            if server.ended_itself and not may_end:
                how = server.process.returncode
                how = f"by signal {signal.Signals(-how).name}" if how < 0 else f"with status {how}"
                return f"the server has ended {how}; {server.stderr()}".rstrip("; ")
        return None


def sanitizer_line(stderr):
    """What ASan or UBSan has found and where, in one line, else None."""
    lines = [line for line in stderr.splitlines() if "Sanitizer" in line or "runtime error" in line]
    best = [line for line in lines if "runtime error" in line or line.startswith("SUMMARY: ")] or lines
    return re.sub(r"^SUMMARY: |^==\d+==ERROR: | on address.*|/\S*/", "", best[0]) if best else None


def named(cases, most=3):
    """The names of cases that failed, for a reason."""
    shown = ", ".join(cases[:most]) + (" ..." if len(cases) > most else "")
    return f"{len(cases)} {'case fails' if len(cases) == 1 else 'cases fail'}: {shown}" if cases else "no case fails"


def result(exercise, attempt):
    """None when the exercise is done, else why not. Raises DoesNotCompile."""
    reason = broken = None
    try:
        reason = exercise.test(attempt)
    except NotListening as fault:
        broken = str(fault)
    except OSError as fault:
        broken = f"the connection broke: {fault}"
    return attempt.report() or reason or attempt.death() or broken
