"""codegen/opcodes.lock: name = number, for every call there ever was. Append-only, so that a client and a server
built from different CUDA releases mean the same call by the same number.

A name keeps its number for ever, even when a later CUDA drops the function. New names get the next numbers, but
only when a person (or `./dev build`) asks for it: an ordinary build refuses, so that the change is seen and committed.
"""

from __future__ import annotations

import re
from pathlib import Path

from codegen.errors import Refused, at

FIRST = 16  # rpc/wire.h: kFirstOpcode; below are control frames
LAST = 0xffff

_HEADER = """\
# The number of every call on the wire. Append-only: a line is never changed or removed (see codegen/opcodes.py).
# New functions are added at the end by `python3 -m codegen append-opcodes`, which `./dev build` runs for you.
"""
_LINE = re.compile(r"(\w+) = (\d+)$")


def read(path: Path) -> dict[str, int]:
    """Name -> number; refuses a file that someone edited out of order."""
    numbers: dict[str, int] = {}
    expected = FIRST
    for line_number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if not match:
            raise at(path, line_number, f"cannot read '{line}'; a line is `name = number`")
        name, number = match[1], int(match[2])
        if name in numbers:
            raise at(path, line_number, f"{name} is here twice")
        if number != expected:
            raise at(path, line_number, f"{name} = {number}, but {expected} comes next: the file is append-only; "
                     "restore it (git checkout) and run `python3 -m codegen append-opcodes`")
        numbers[name] = number
        expected += 1
    return numbers


def check(path: Path, names: list[str]) -> dict[str, int]:
    """All numbers, after making sure that every name has one."""
    numbers = read(path)
    missing = [name for name in names if name not in numbers]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise Refused(f"{path}: error: no opcode for {shown}; run `python3 -m codegen append-opcodes` "
                      "(./dev build does) and commit the file")
    return numbers


def append(path: Path, names: list[str]) -> list[str]:
    """Gives the names without a number the next ones; returns them."""
    numbers = read(path)
    missing = [name for name in names if name not in numbers]
    following = FIRST + len(numbers)
    if following + len(missing) > LAST:
        raise Refused(f"{path}: error: more than {LAST} opcodes")
    if missing:
        text = path.read_text() if path.exists() else _HEADER
        path.write_text(text + "".join(f"{n} = {i}\n" for i, n in enumerate(missing, following)))
    return missing


def compare(old: Path, new: Path) -> None:
    """Refuses when `new` is not `old` with lines added: what CI asks of a change."""
    before, after = read(old), read(new)
    for name, number in before.items():
        if after.get(name) != number:
            raise Refused(f"{new}: error: {name} was {number} and is {after.get(name, 'gone')}; opcodes are for ever")
