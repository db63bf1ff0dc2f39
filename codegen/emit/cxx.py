"""C++ text that several emitters need."""

from __future__ import annotations

from codegen.model import Function, Param

_CALLING = {"driver": "CUDAAPI", "runtime": "CUDARTAPI"}


def declare(param: Param, name: str) -> str:
    """`const char* name`, the way the project writes it."""
    return declare_type(param.type.spelling, name)


def declare_type(spelling: str, name: str) -> str:
    spelling = spelling.replace(" *", "*")
    return f"{spelling} {name}"


def parameters(function: Function, names: list[str]) -> str:
    return ", ".join(declare(p, n) for p, n in zip(function.params, names))


def export_head(api: str, function: Function, name: str, names: list[str]) -> str:
    """Everything of an exported stub up to its brace."""
    result = function.result.spelling.replace(" *", "*")
    head = f'extern "C" FARCALL_API {result} {_CALLING[api]} {name}('
    return wrap(head, [declare(p, n) for p, n in zip(function.params, names)], ") {")


def wrap(head: str, items: list[str], tail: str, width: int = 100) -> str:
    """head item, item, ... tail; broken after commas and aligned below the first item where it grows too long."""
    indent = " " * (len(head) - (head.rfind("\n") + 1))
    lines, current = [], head
    for i, item in enumerate(items):
        piece = item + (tail if i == len(items) - 1 else ",")
        start = current.endswith("(") or not current.strip()
        if len(current) + len(piece) + 1 > width and not start:
            lines.append(current)
            current = indent + piece
        else:
            current += piece if start else " " + piece
    if not items:
        current += tail
    return "\n".join([*lines, current])


def getter(field: str) -> str:
    return "get" + _capital(field)


def setter(field: str) -> str:
    return "set" + _capital(field)


def init(field: str) -> str:
    return "init" + _capital(field)


def has(field: str) -> str:
    return "has" + _capital(field)


def _capital(field: str) -> str:
    return field[0].upper() + field[1:]


# What a failed check in a stub returns, by API.
INVALID_VALUE = {"driver": "CUDA_ERROR_INVALID_VALUE", "runtime": "cudaErrorInvalidValue"}
INVALID_HANDLE = {"driver": "CUDA_ERROR_INVALID_HANDLE", "runtime": "cudaErrorInvalidResourceHandle"}
NOT_SUPPORTED = {"driver": "CUDA_ERROR_NOT_SUPPORTED", "runtime": "cudaErrorNotSupported"}
