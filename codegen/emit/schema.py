"""rpc/schema/<api>_<family>.capnp and <api>_structs.capnp.

Ordinals follow the parameter list, flags for optional pointers come last, so that an annotation which becomes more
lenient later only adds fields.
"""

from __future__ import annotations

import hashlib

from codegen.emit.render import render
from codegen.plan import ApiPlan, Plan, StructPlan


def emit(api: ApiPlan) -> dict[str, str]:
    out = {}
    structs = [{"name": s.schema, "fields": _struct_fields(s), "comment": s.cxx} for s in api.structs]
    out[f"rpc/schema/{api.api}_structs.capnp"] = _file(f"{api.api}_structs", [], structs)
    for family in api.families:
        plans = [p for p in api.remoted if p.family == family]
        if not plans:
            continue
        messages = []
        for plan in plans:
            messages.append({"name": plan.schema, "fields": _arguments(plan), "comment": plan.name})
            if plan.has_results:
                messages.append({"name": plan.schema + "Results", "fields": _results(plan), "comment": ""})
        imports = [f"{api.api}_structs"] if any(plan.structs for plan in plans) else []
        out[f"rpc/schema/{api.api}_{family}.capnp"] = _file(f"{api.api}_{family}", imports, messages)
    return out


def schema_type(arg) -> str:
    """The schema's type of a parameter: an array of it where it has an extent."""
    wire = arg.wire
    if wire.capnp in ("Data", "Text"):
        return wire.capnp
    name = f"Structs.{wire.capnp}" if wire.struct is not None else wire.capnp
    return f"List({name})" if arg.extent is not None else name


def _arguments(plan: Plan) -> list[tuple[str, str, str]]:
    fields = [(a.field, schema_type(a), _comment(a)) for a in plan.args if a.goes_out]
    fields += [(a.flag, "Bool", "") for a in plan.args if a.flag]
    return fields


def _results(plan: Plan) -> list[tuple[str, str, str]]:
    return [(a.field, schema_type(a), "") for a in plan.args if a.comes_back]


def _struct_fields(struct: StructPlan) -> list[tuple[str, str, str]]:
    return [(f.name, f.wire.capnp, f"{f.wire.count} elements" if f.wire.count else "") for f in struct.all_fields]


def _comment(arg) -> str:
    if arg.role == "creates":
        return "id to bind"
    return "handle" if arg.wire.handle else "device address" if arg.wire.kind == "device" else ""


def _file(name: str, imports: list[str], messages: list[dict]) -> str:
    number = int.from_bytes(hashlib.sha256(f"farcall/{name}".encode()).digest()[:8], "big") | 1 << 63
    return render("schema.capnp.j2", id=f"{number:#x}", imports=imports, messages=messages)
