"""How the generator says no. One line, like a compiler's: file:line: error: what is wrong, and what to write instead."""

from __future__ import annotations


class Refused(Exception):
    """Raised where the decision is made, printed once by __main__."""


def at(path, line: int, message: str) -> Refused:
    return Refused(f"{path}:{line}: error: {message}")
