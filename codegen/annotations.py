"""Reads .ann files: one line per function, saying what its signature cannot (README.md lists the words)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codegen.errors import at


@dataclass
class Internal:
    """A call of rpc/calls.capnp."""
    name: str
    words: list[str]


def read_internal(path: Path) -> list[Internal]:
    calls = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name, _, rest = line.partition("#")[0].strip().partition(" ")
        if not name:
            continue
        words = [word.strip() for word in rest.split(",")]
        for word in words:
            if word not in ("sync", "async", "blocking"):
                raise at(path, number, f"{name}: cannot read '{word}'; write async, sync or blocking")
        calls.append(Internal(name, words))
    return calls
