#!/usr/bin/env python3
"""Are the exercises of a chapter done?

    learn/exercise.py 04                        those of chapter 4, on learn/04_frames.c
    learn/exercise.py 04 --file mine.c 2        exercise 2 of them, on another file
    learn/exercise.py --solutions [04]          for the authors: is each solution right, and each test needed?

Prints a line for each exercise: done, or not yet and why. Exit status: 0 all are done, 1 one is not, 2 wrong usage, or
the file does not compile.

--solutions takes the block ```diff of each exercise from learn/solutions/04.md. The untouched program must be "not
yet", with that change it must be "done". It ends with "N passed, M failed".
"""
import argparse
import concurrent.futures
import importlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from attempt import Attempt, Compiler, DoesNotCompile, result

HERE = pathlib.Path(__file__).resolve().parent
CHAPTERS = sorted(p.stem.removeprefix("chapter_") for p in HERE.glob("exercises/chapter_[0-9][0-9].py"))


def exercises_of(chapter):
    return importlib.import_module(f"exercises.chapter_{chapter}").EXERCISES


def program_of(chapter):
    return next(HERE.glob(f"{chapter}_*.c"))


def label(chapter, exercise):
    return f"{int(chapter)}.{exercise.number} {exercise.title}"


# --- for students -----------------------------------------------------------------------------------------------------

def try_one(chapter, exercise, source, compiler, options):
    """The line to print, and whether it is done."""
    if not source.exists():
        return f"{label(chapter, exercise)}: not yet: there is no file {source.name}", False
    reason = result(exercise, Attempt(source, compiler, options.wscheck))
    return f"{label(chapter, exercise)}: {'done' if reason is None else f'not yet: {reason}'}", reason is None


def source_of(chapter, exercise, options):
    """The file to try. In a whole chapter, --file is not for an exercise that has a file of its own."""
    if exercise.file is None:
        return options.file or program_of(chapter)
    return options.file if options.file and options.number else HERE / exercise.file


def try_chapter(chapter, options):
    """Tries the exercises one after the other, as some look at the clock. Returns the exit status."""
    asked = [e for e in exercises_of(chapter) if options.number in (None, e.number)]
    if not asked:
        sys.exit(usage(f"chapter {int(chapter)} has the exercises 1 to {len(exercises_of(chapter))}"))
    status = 0
    with tempfile.TemporaryDirectory() as directory:
        compiler = Compiler(options.cc, directory)
        for exercise in asked:
            source = source_of(chapter, exercise, options)
            try:
                line, done = try_one(chapter, exercise, source, compiler, options)
            except DoesNotCompile as fault:
                print(f"{source.name} does not compile:\n{fault}", file=sys.stderr)
                return 2
            print(line, flush=True)
            status |= not done
    return status


def usage(fault):
    print(f"{os.path.basename(sys.argv[0])}: {fault}", file=sys.stderr)
    return 2


# --- for the authors --------------------------------------------------------------------------------------------------

def sections(chapter):
    """The solutions of a chapter: {1: ("Upper case", its text)}."""
    page = HERE / "solutions" / f"{chapter}.md"
    parts = re.split(rf"^## {int(chapter)}\.(\d+) (.*)\n", page.read_text(), flags=re.MULTILINE)
    return {int(n): (title, text) for n, title, text in zip(parts[1::3], parts[2::3], parts[3::3])}


def titles(chapter):
    """The exercises as the chapter has them: {1: "Upper case"}."""
    text = program_of(chapter).with_suffix(".md").read_text().split("\n## Exercises\n")[1]
    return {int(n): title.rstrip(".") for n, title in re.findall(r"^(\d)\. \*\*(.*?)\*\*", text, re.MULTILINE)}


def wrong_titles(chapter):
    """Do the chapter, its tests and its solutions have the same exercises?"""
    tests = {e.number: e.title.lower() for e in exercises_of(chapter)}
    for page, there in ((f"{program_of(chapter).stem}.md", titles(chapter)),
                        (f"solutions/{chapter}.md", {n: title for n, (title, _) in sections(chapter).items()})):
        there = {n: title.lower() for n, title in there.items()}
        if there != tests:
            yield f"chapter {int(chapter)}: {page} has {there}, the tests have {tests}"


def patched(chapter, exercise, directory):
    """The program with the change of the solution, as a path. A fault raises ValueError."""
    _, text = sections(chapter).get(exercise.number, ("", ""))
    diff = "".join(re.findall(r"^```diff\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    if not diff:
        raise ValueError(f"solutions/{chapter}.md has no diff for it")
    top = pathlib.Path(directory) / f"{chapter}.{exercise.number}"
    (top / "learn").mkdir(parents=True)
    program = top / "learn" / program_of(chapter).name
    program.write_bytes(program_of(chapter).read_bytes())
    run = subprocess.run(["git", "apply", "--whitespace=error-all"], input=diff, text=True, cwd=top, check=False,
                         stderr=subprocess.PIPE, env={**os.environ, "GIT_CEILING_DIRECTORIES": str(top.parent)})
    if run.returncode != 0:
        raise ValueError(f"the diff of the solution does not apply: {run.stderr.strip()}")
    return top / "learn" / exercise.file if exercise.file else program


def prove(chapter, exercise, directory, compiler, options):
    """The faults of an exercise: its test does nothing, or its solution is wrong."""
    try:
        before = result(exercise, Attempt(program_of(chapter), compiler, options.wscheck))
        after = result(exercise, Attempt(patched(chapter, exercise, directory), compiler, options.wscheck))
    except ValueError as fault:
        return [str(fault)]
    except DoesNotCompile as fault:
        return [f"does not compile:\n{fault}"]
    if options.verbose:
        print(f"{label(chapter, exercise)}: untouched: {before}")
    faults = ["is done without a change"] if before is None else []
    return faults + ([f"its solution is not yet: {after}"] if after is not None else [])


def prove_all(chapters, options):
    passed = failed = 0
    with tempfile.TemporaryDirectory() as directory, concurrent.futures.ThreadPoolExecutor(4) as pool:
        compiler = Compiler(options.cc, directory)
        jobs = [(label(chapter, e), pool.submit(prove, chapter, e, directory, compiler, options))
                for chapter in chapters for e in exercises_of(chapter)]
        for name, job in jobs:
            faults = job.result()
            print(f"{name}: {'; '.join(faults) or 'not yet, then done'}", flush=True)
            passed += not faults
            failed += bool(faults)
    for fault in [fault for chapter in chapters for fault in wrong_titles(chapter)]:
        print(fault)
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--wscheck", default=str(HERE.parent / "wscheck"))
    parser.add_argument("--file", type=pathlib.Path)
    parser.add_argument("--solutions", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="with --solutions: say why the untouched is not yet")
    parser.add_argument("chapter", nargs="?")
    parser.add_argument("number", nargs="?", type=int)
    options = parser.parse_args()
    chapter = options.chapter and options.chapter.zfill(2)
    if chapter and chapter not in CHAPTERS:
        parser.error(f"chapters are {CHAPTERS[0]} to {CHAPTERS[-1]}")
    if not os.access(options.wscheck, os.X_OK):
        parser.error(f"there is no {options.wscheck}: make wscheck")
    if options.solutions:
        sys.exit(prove_all([chapter] if chapter else CHAPTERS, options))
    if chapter is None:
        parser.error("which chapter? as in: learn/exercise.py 04")
    if options.file and not options.file.exists():
        parser.error(f"there is no file {options.file}")
    sys.exit(try_chapter(chapter, options))


if __name__ == "__main__":
    main()
