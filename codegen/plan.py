"""What check.py has decided: how each call crosses the wire. The emitters read plans and decide nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from codegen.annotations import Entry, SizesNote
from codegen.model import Function, Param, Record

# Opaque structs behind pointers, and what rpc/handle_id.h calls them.
HANDLES = {
    "CUctx_st": "kContext", "CUstream_st": "kStream", "CUevent_st": "kEvent", "CUmod_st": "kModule",
    "CUlib_st": "kLibrary", "CUkern_st": "kKernel", "CUfunc_st": "kFunction", "CUgraph_st": "kGraph",
    "CUgraphNode_st": "kGraphNode", "CUgraphExec_st": "kGraphExec", "CUuserObject_st": "kUserObject",
    "CUmemPoolHandle_st": "kMemoryPool", "CUarray_st": "kArray", "cudaArray": "kArray",
    "CUmipmappedArray_st": "kMipmappedArray", "cudaMipmappedArray": "kMipmappedArray",
    "CUtexref_st": "kTextureReference", "CUsurfref_st": "kSurfaceReference", "CUlinkState_st": "kLinkState",
    "CUextMemory_st": "kExternalMemory", "CUexternalMemory_st": "kExternalMemory", "CUextSemaphore_st": "kExternalSemaphore", "CUgreenCtx_st": "kGreenContext",
}
# Integers that are handles: by typedef.
INTEGER_HANDLES = {"CUmemGenericAllocationHandle": "kMemoryHandle"}


@dataclass
class Wire:
    """How one value crosses."""
    kind: str       # int, float, bool, enum, handle, device, struct, union, bytes, list, text; raw: a whole opaque struct
    capnp: str      # the schema's type
    cxx: str        # the value's C++ type
    handle: str = ""             # HandleType
    integer_handle: bool = False
    struct: "StructPlan | None" = None
    element: "Wire | None" = None  # of a list: a fixed array in a struct
    count: int = 0                 # of bytes, list

    @property
    def is_stream(self) -> bool:
        return self.handle == "kStream"

    @property
    def uses_handles(self) -> bool:
        if self.struct is not None:
            return self.struct.uses_handles
        return bool(self.handle) or (self.element is not None and self.element.uses_handles)


@dataclass
class FieldPlan:
    path: str        # in C++: "res.array.hArray"
    name: str        # in the schema: "resArrayHArray"
    wire: Wire


@dataclass
class Switch:
    """A union: which fields are there depends on another value."""
    by: str                                   # path of that value; "which" when it is given from outside
    by_type: str                              # its C++ type
    cases: list[tuple[list[str], list[FieldPlan]]]


@dataclass
class StructPlan:
    record: Record
    cxx: str
    schema: str
    api: str
    fields: list[FieldPlan] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    opaque: bool = False  # its one field, "bytes", is all of it

    @property
    def external(self) -> bool:
        """A union whose holder tells what it holds."""
        return self.record.union and not self.opaque

    @property
    def all_fields(self) -> list[FieldPlan]:
        return self.fields + [f for s in self.switches for _, members in s.cases for f in members]

    @property
    def uses_handles(self) -> bool:
        return any(f.wire.uses_handles for f in self.all_fields)


@dataclass
class Extent:
    kind: str       # param: a count by value; inout: behind a pointer; const; sizes: by an attribute
    name: str = ""  # of the parameter
    value: int = 0
    less: int = 0   # so many fewer elements than the parameter says
    sizes: SizesNote | None = None


@dataclass
class Arg:
    """One parameter of a remoted call."""
    param: Param
    name: str        # in generated C++
    field: str       # in the schema
    role: str        # in, out, inout, creates, destroys, ignore, null
    wire: Wire | None
    pointer: bool = False     # the parameter points to its value or values
    extent: Extent | None = None
    nullable: bool = False
    by: str = ""              # union: C++ name of the parameter that says what it holds
    allocates: str = ""       # C++ name of the size, if this is an address the client must remember
    frees: bool = False

    @property
    def goes_out(self) -> bool:
        """Part of the arguments."""
        return self.role in ("in", "inout", "creates", "destroys")

    @property
    def comes_back(self) -> bool:
        """Part of the results."""
        return self.role in ("out", "inout")

    @property
    def flag(self) -> str:
        """Schema field that says whether the program gave a pointer; "" where the message itself tells."""
        if not self.nullable:
            return ""
        if self.role == "out" or (self.role in ("in", "inout") and self.wire.capnp not in ("Text", "Data") and
                                  self.wire.struct is None and self.extent is None):
            return "has" + self.field[0].upper() + self.field[1:]
        return ""


@dataclass
class Plan:
    """One function."""
    api: str
    function: Function
    entry: Entry
    kind: str               # remoted, custom, local, as
    wire_class: str = ""    # cached, async, sync, blocking; "" if no message is generated
    schema: str = ""        # "CuMemAllocV2"
    args: list[Arg] = field(default_factory=list)
    variants: list[str] = field(default_factory=list)  # cuX, cuX_ptsz
    target: "Plan | None" = None  # of as
    forgets: bool = False
    always: bool = False    # results come back with a failure too

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def family(self) -> str:
        return self.entry.family

    @property
    def blocking(self) -> bool:
        return self.wire_class == "blocking"

    @property
    def has_results(self) -> bool:
        return any(arg.comes_back for arg in self.args)

    @property
    def has_per_thread(self) -> bool:
        return len(self.variants) > 1

    @property
    def structs(self) -> list[StructPlan]:
        found = []
        for arg in self.args:
            if arg.wire is not None and arg.wire.struct is not None and arg.wire.struct not in found:
                found.append(arg.wire.struct)
        return found


@dataclass
class ApiPlan:
    """One library, decided: every export is in exactly one of these."""
    api: str
    families: list[str]
    plans: list[Plan]                           # remoted, custom, local, as
    structs: list[StructPlan]
    unsupported: list[tuple[str, Function | None, str]]  # export, declaration if any, reason
    handwritten: list[str]
    undecided: list[str]                        # subset of the names in `unsupported`

    @property
    def remoted(self) -> list[Plan]:
        return [plan for plan in self.plans if plan.wire_class]
