#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Has each translation the structure of its original?

    tests/translations.py

A translation of x.md is x.zh-CN.md. Both must have, in this order, headings of the same levels, the same lines of code
(comments in shell commands may be translated), the same marks of captures, tables with the same rows: as many cells,
and the same code in the first one. They must also have the same links, where a translation may link to translations.
Prints a line for the first difference of each translation, and then ends with 1."""

import itertools
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
FENCED = re.compile(r"^```[^\n]*\n.*?^```$", re.DOTALL | re.MULTILINE)
SHELL_COMMENT = re.compile(r"\s+# .*")
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def structure(text):
    """What has to be the same, a line for each piece."""
    at = 0
    for match in FENCED.finditer(text):
        yield from outside_fences(text[at:match.start()])
        yield from match.group().split("\n")
        at = match.end()
    yield from outside_fences(text[at:])


def outside_fences(text):
    for line in text.split("\n"):
        if line.startswith("    "):
            yield SHELL_COMMENT.sub("", line)
        elif line.startswith("#"):
            yield line.split(" ", maxsplit=1)[0] + " a heading"
        elif line.startswith("<!-- "):
            yield line
        elif line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            yield f"| {' '.join(CODE.findall(cells[0]))} | in a row of {len(cells)} cells"


def links(text):
    return sorted({link.replace(".zh-CN.md", ".md") for link in LINK.findall(FENCED.sub("", text))})


def difference(mine, its):
    for a, b in itertools.zip_longest(mine, its, fillvalue="nothing more"):
        if a != b:
            return f"{a.strip()}: the original has {b.strip()}"
    return None


def main():
    listing = subprocess.run(["git", "ls-files", "*.zh-CN.md"], cwd=TOP, capture_output=True, text=True, check=True)
    wrong = 0
    for name in listing.stdout.split():
        path = TOP / name
        original = (path.parent / path.name.replace(".zh-CN.md", ".md")).read_text()
        text = path.read_text()
        # The two link to each other, each in its own way.
        of_it = path.name.replace(".zh-CN.md", ".md")
        fault = difference(structure(text), structure(original)) or difference(
            [link for link in links(text) if link != of_it], [link for link in links(original) if link != of_it])
        if fault:
            print(f"{name}: {fault}")
            wrong += 1
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
