"""rpc/opcodes.h."""

from __future__ import annotations

from codegen import opcodes
from codegen.emit.render import render


def emit(numbers: dict[str, int]) -> dict[str, str]:
    return {"rpc/opcodes.h": render("opcodes.h.j2", numbers=numbers, first=opcodes.FIRST,
                                    count=opcodes.FIRST + len(numbers))}
