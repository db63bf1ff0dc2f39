"""Reads .ann files: one line per function, saying what its signature cannot. docs/internals/annotations.md explains the words.

    family memory                                     # output files; until the next `family`
    struct CUmemPoolProps      ignore win32SecurityAttributes
    union CUDA_RESOURCE_DESC.res by resType: CU_RESOURCE_TYPE_ARRAY array, ...
    union CUlaunchAttributeValue: CU_LAUNCH_ATTRIBUTE_PRIORITY priority, ...
    sizes CUmemPool_attribute: CU_MEMPOOL_ATTR_RELEASE_THRESHOLD 8, ...
    opaque CUstreamBatchMemOpParams
    cuMemPoolSetAttribute      async, in value by attr

A line that starts with a blank goes on with the one before. This file knows the grammar only; whether a fact fits the
function is check.py's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from codegen.errors import Refused, at

CLASSES = ("local", "cached", "async", "sync", "blocking", "custom", "unsupported", "handwritten", "as")
WIRE_CLASSES = ("cached", "async", "sync", "blocking")  # cross the wire with a generated message
# What a fact says of a parameter. The first group is a role, of which a parameter has at most one.
ROLES = ("in", "out", "inout", "creates", "destroys", "ignore", "null")
MARKS = ("device", "string", "nullable", "allocates", "frees")

_PARAM = re.compile(rf"({'|'.join(ROLES + MARKS)}) (\w+)(?:\[(\w+(?:-\d)?)\]| by (\w+))?$")


@dataclass
class Fact:
    word: str          # a role or a mark
    param: str
    extent: str = ""   # what stood in brackets: a parameter or a number
    by: str = ""       # the parameter that says what this one holds


@dataclass
class Entry:
    """One function's line."""
    name: str
    path: Path
    line: int
    family: str
    classes: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)  # forgets, always
    reason: str = ""   # of unsupported
    target: str = ""   # of as

    def refuse(self, message: str) -> Refused:
        return at(self.path, self.line, f"{self.name}: {message}")

    @property
    def wire_class(self) -> str:
        """How the generated message is sent; "" if there is none. A line without a class is `sync`."""
        found = [word for word in self.classes if word in WIRE_CLASSES]
        return found[0] if found else "" if self.classes else "sync"

    def of(self, param: str) -> dict[str, Fact]:
        return {fact.word: fact for fact in self.facts if fact.param == param}


@dataclass
class StructNote:
    name: str
    path: Path
    line: int
    ignored: list[str] = field(default_factory=list)
    device: list[str] = field(default_factory=list)

    def refuse(self, message: str) -> Refused:
        return at(self.path, self.line, f"{self.name}: {message}")


@dataclass
class UnionNote:
    name: str                                   # a union type, or STRUCT.field
    path: Path
    line: int
    by: str                                     # STRUCT.field: the sibling that says which member holds
    members: dict[str, str] = field(default_factory=dict)  # enumerator -> member

    def refuse(self, message: str) -> Refused:
        return at(self.path, self.line, f"{self.name}: {message}")


@dataclass
class SizesNote:
    enum: str
    path: Path
    line: int
    bytes: dict[str, int] = field(default_factory=dict)  # enumerator -> size of the value it names


@dataclass
class Annotations:
    path: Path
    families: list[str] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    structs: dict[str, StructNote] = field(default_factory=dict)
    unions: dict[str, UnionNote] = field(default_factory=dict)
    sizes: dict[str, SizesNote] = field(default_factory=dict)
    opaque: set[str] = field(default_factory=set)  # structs and unions that cross as they are


def read(path: Path) -> Annotations:
    notes = Annotations(path)
    family = ""
    for line, text in _logical_lines(path):
        head, _, rest = text.partition(" ")
        rest = rest.strip()
        if head == "family":
            family = rest
            if not re.fullmatch(r"[a-z]+", family):
                raise at(path, line, f"'{family}' is not a family name; small letters only")
            if family in notes.families:
                raise at(path, line, f"family {family} is here twice")
            notes.families.append(family)
        elif head == "struct":
            _read_struct(notes, path, line, rest)
        elif head == "union":
            _read_union(notes, path, line, rest)
        elif head == "sizes":
            _read_sizes(notes, path, line, rest)
        elif head == "opaque":
            notes.opaque.update(_split(rest))
        else:
            entry = _read_entry(path, line, family, head, rest)
            if entry.name in notes.entries:
                raise entry.refuse(f"is here twice; first in line {notes.entries[entry.name].line}")
            notes.entries[entry.name] = entry
    return notes


def _logical_lines(path: Path):
    """(line number, text) without comments; continuation lines joined."""
    current, start = "", 0
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        text = _without_comment(raw).rstrip()
        if not text:
            continue
        if text[0].isspace():
            if not current:
                raise at(path, number, "a continuation line, but of what?")
            current += " " + text.strip()
            continue
        if current:
            yield start, current
        current, start = text, number
    if current:
        yield start, current


def _without_comment(line: str) -> str:
    quoted = False
    for i, c in enumerate(line):
        if c == '"':
            quoted = not quoted
        elif c == "#" and not quoted:
            return line[:i]
    return line


def _read_entry(path: Path, line: int, family: str, name: str, rest: str) -> Entry:
    entry = Entry(name, path, line, family)
    if not re.fullmatch(r"\w+", name):
        raise at(path, line, f"'{name}' is not a function's name")
    if not family:
        raise entry.refuse("stands before the first `family`")
    for word in _split(rest):
        if word in CLASSES and word not in ("unsupported", "as"):
            entry.classes.append(word)
        elif word.startswith("unsupported"):
            match = re.fullmatch(r'unsupported "([^"]+)"', word)
            if not match:
                raise entry.refuse('say why: unsupported "reason"')
            entry.classes.append("unsupported")
            entry.reason = match[1]
        elif match := re.fullmatch(r"as (\w+)", word):
            entry.classes.append("as")
            entry.target = match[1]
        elif word in ("forgets", "always"):
            entry.flags.add(word)
        elif match := _PARAM.fullmatch(word):
            entry.facts.append(Fact(match[1], match[2], match[3] or "", match[4] or ""))
        else:
            raise entry.refuse(f"cannot read '{word}'")
    return entry


def _split(text: str) -> list[str]:
    """At commas outside quotes."""
    words = [word.strip() for word in re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', text)]
    return [word for word in words if word]


def _read_struct(notes: Annotations, path: Path, line: int, rest: str) -> None:
    name, _, facts = rest.partition(" ")
    note = StructNote(name, path, line)
    for word in _split(facts):
        if match := re.fullmatch(r"ignore ([\w.]+)", word):
            note.ignored.append(match[1])
        elif match := re.fullmatch(r"device (\w+)", word):
            note.device.append(match[1])
        else:
            raise note.refuse(f"cannot read '{word}'; write `ignore field` or `device field`")
    notes.structs[name] = note


def _read_union(notes: Annotations, path: Path, line: int, rest: str) -> None:
    match = re.fullmatch(r"(?:(\w+\.\w+) by (\w+)|(\w+)): *(.*)", rest)
    if not match:
        raise at(path, line, "write `union TYPE: ENUMERATOR member, ...` or "
                 "`union STRUCT.field by field: ENUMERATOR member, ...`")
    note = UnionNote(match[1] or match[3], path, line, match[2] or "")
    for word in _split(match[4]):
        parts = word.split()
        if len(parts) != 2:
            raise note.refuse(f"cannot read '{word}'; write `ENUMERATOR member`")
        note.members[parts[0]] = parts[1]
    notes.unions[note.name] = note


def _read_sizes(notes: Annotations, path: Path, line: int, rest: str) -> None:
    match = re.fullmatch(r"(\w+): *(.*)", rest)
    if not match:
        raise at(path, line, "write `sizes ENUM: ENUMERATOR bytes, ...`")
    note = SizesNote(match[1], path, line)
    for word in _split(match[2]):
        parts = word.split()
        if len(parts) != 2 or parts[1] not in ("1", "2", "4", "8", "16"):
            raise at(path, line, f"{note.enum}: cannot read '{word}'; write `ENUMERATOR bytes`")
        note.bytes[parts[0]] = int(parts[1])
    notes.sizes[note.enum] = note


@dataclass
class Internal:
    """A call of rpc/calls.capnp."""
    name: str
    words: list[str]


def read_internal(path: Path) -> list[Internal]:
    calls = []
    for number, text in _logical_lines(path):
        name, _, rest = text.partition(" ")
        words = _split(rest)
        for word in words:
            if word not in ("sync", "async", "blocking"):
                raise at(path, number, f"{name}: cannot read '{word}'; write async, sync or blocking")
        calls.append(Internal(name, words))
    return calls
