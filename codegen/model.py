"""What a CUDA header says, without libclang: functions, their parameters, and the types they use.

headers.py builds these, everything else reads them. A type knows its spelling (for C++ that we write) and its shape
(for the wire). Nothing here knows annotations.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Kinds of Type. "opaque" is a struct that the headers never define: what handles point to.
VOID, INT, FLOAT, BOOL, ENUM, POINTER, STRUCT, UNION, OPAQUE, ARRAY, FUNCTION = (
    "void", "int", "float", "bool", "enum", "pointer", "struct", "union", "opaque", "array", "function")


@dataclass
class Type:
    kind: str
    spelling: str              # as C++ needs it, with const: "const CUmemPoolProps *"
    bytes: int = 0
    signed: bool = False
    const: bool = False
    is_char: bool = False      # char, signed char, unsigned char
    names: tuple[str, ...] = ()  # the typedefs on the way: ("CUdeviceptr", "CUdeviceptr_v2")
    target: "Type | None" = None  # pointee or element
    count: int = 0             # elements of an array
    record: "Record | None" = None  # struct, union

    @property
    def bare(self) -> str:
        """The spelling without a leading const: what a local variable is declared as."""
        text = self.spelling
        while text.startswith("const "):
            text = text[len("const "):]
        return text.strip()

    @property
    def is_pointer(self) -> bool:
        return self.kind == POINTER

    @property
    def opaque_name(self) -> str:
        """CUstream -> "CUstream_st"; "" for anything that is not a pointer to an undefined struct."""
        if self.kind == POINTER and self.target is not None and self.target.kind == OPAQUE:
            return self.target.spelling.removeprefix("const ").removeprefix("struct ")
        return ""


@dataclass
class Field:
    name: str  # "" for an anonymous union or struct member
    type: Type


@dataclass
class Record:
    name: str
    union: bool
    fields: list[Field] = field(default_factory=list)
    bytes: int = 0

    def find(self, name: str) -> Field | None:
        return next((f for f in self.fields if f.name == name), None)


@dataclass
class Param:
    name: str
    type: Type


@dataclass
class Function:
    name: str
    result: Type
    params: list[Param]
    header: str = ""

    def find(self, name: str) -> Param | None:
        return next((p for p in self.params if p.name == name), None)

    @property
    def per_thread(self) -> bool:
        return self.name.endswith(("_ptsz", "_ptds"))

    @property
    def base_name(self) -> str:
        """cuMemcpyHtoDAsync_v2_ptsz -> cuMemcpyHtoDAsync_v2: the function whose opcode it shares."""
        return self.name[:-5] if self.per_thread else self.name


@dataclass
class Api:
    """One library as an application sees it."""
    name: str                      # "driver" or "runtime"
    functions: dict[str, Function]  # by name, in the header's order, per-thread forms included
    undeclared: list[str]          # exported, but no header says how to call it
    cuda_version: int = 0
    enums: dict[str, list[str]] = field(default_factory=dict)  # enum -> its values' names

    @property
    def exports(self) -> list[str]:
        return sorted([*self.functions, *self.undeclared])
