"""client/<api>_structs.h and server/<api>_structs.h: CUDA's structs to and from the schema's, field by field.

Each side has `put` (C to message) and `get` (message to C). The client checks handles while it writes; the server
looks them up while it reads and makes ids of them while it writes.
"""

from __future__ import annotations

from codegen.emit.cxx import INVALID_HANDLE, NOT_SUPPORTED, getter, init, setter
from codegen.emit.render import render
from codegen.plan import ApiPlan, FieldPlan, StructPlan


def emit(api: ApiPlan) -> dict[str, str]:
    out = {}
    sizes = {a.extent.sizes.enum: a.extent.sizes for p in api.remoted for a in p.args
             if a.extent is not None and a.extent.sizes is not None}
    header = "cuda.h" if api.api == "driver" else "cuda_runtime_api.h"
    for side in ("client", "server"):
        write = _Client(api.api) if side == "client" else _Server()
        structs = [{"cxx": s.cxx, "schema": s.schema, "external": s.external,
                    "put_lines": _body(s, write.put, write.put_unknown),
                    "get_lines": _body(s, write.get, write.get_unknown)} for s in in_order(api.structs)]
        out[f"{side}/{api.api}_structs.h"] = render(f"{side}_structs.h.j2", api=api.api, header=header, structs=structs,
                                                       sizes=list(sizes.values()))
    return out


def in_order(structs: list[StructPlan]) -> list[StructPlan]:
    """Members before the structs that hold them."""
    done: list[StructPlan] = []

    def visit(struct: StructPlan) -> None:
        for field in struct.all_fields:
            if field.wire.struct is not None:
                visit(field.wire.struct)
        if struct not in done:
            done.append(struct)

    for struct in structs:
        visit(struct)
    return done


def _body(struct: StructPlan, field_lines, unknown: str) -> list[str]:
    lines = [line for field in struct.fields for line in field_lines(field)]
    for switch in struct.switches:
        which = "which" if struct.external else f"value.{switch.by}"
        lines.append(f"switch ({which}) {{")
        for enumerators, fields in switch.cases:
            lines += [f"  case {e}:" for e in enumerators]
            lines[-1] += " {"
            lines += ["    " + line for field in fields for line in field_lines(field)]
            lines += ["    break;", "  }"]
        lines += ["  default:", f"    {unknown}", "}"]
    return lines


class _Client:
    def __init__(self, api: str):
        self._api = api
        self.put_unknown = f"return {NOT_SUPPORTED[api]};"
        self.get_unknown = "break;"

    def put(self, field: FieldPlan) -> list[str]:
        wire, path = field.wire, f"value.{field.path}"
        if wire.kind == "handle":
            id = f"rpc::HandleId({path})" if wire.integer_handle else f"id_of({path})"
            return [f"if (!usable(session, {id}, rpc::HandleType::{wire.handle})) {{",
                    f"  return {INVALID_HANDLE[self._api]};", "}",
                    f"out.{setter(field.name)}({id});"]
        if wire.kind == "struct":
            return [f"if (const int error = put(session, out.{init(field.name)}(), {path}); error != 0) return error;"]
        return _put_plain(field, path)

    def get(self, field: FieldPlan) -> list[str]:
        wire, path = field.wire, f"value.{field.path}"
        if wire.kind == "handle" and not wire.integer_handle:
            return [f"{path} = handle_from<{wire.cxx}>(in.{getter(field.name)}());"]
        if wire.kind == "struct":
            return [f"get(in.{getter(field.name)}(), {path});"]
        return _get_plain(field, path)


class _Server:
    put_unknown = "break;"
    get_unknown = 'return call.invalidate("a union of unknown kind");'

    def put(self, field: FieldPlan) -> list[str]:
        wire, path = field.wire, f"value.{field.path}"
        if wire.kind == "handle":
            object = f"reinterpret_cast<void*>({path})" if wire.integer_handle else path
            return [f"out.{setter(field.name)}(intern(call, rpc::HandleType::{wire.handle}, {object}));"]
        if wire.kind == "struct":
            return [f"put(call, out.{init(field.name)}(), {path});"]
        return _put_plain(field, path)

    def get(self, field: FieldPlan) -> list[str]:
        wire, path = field.wire, f"value.{field.path}"
        if wire.kind == "handle":
            return [f"{path} = call.handle<{wire.cxx}>(in.{getter(field.name)}(), rpc::HandleType::{wire.handle});"]
        if wire.kind == "struct":
            return [f"get(call, in.{getter(field.name)}(), {path});"]
        return _get_plain(field, path)


def _put_plain(field: FieldPlan, path: str) -> list[str]:
    wire = field.wire
    if wire.kind == "raw":
        return ["out.setBytes(rpc::to_data(&value, sizeof value));"]
    if wire.kind == "bytes":
        return [f"out.{setter(field.name)}(rpc::to_data({path}, sizeof {path}));"]
    if wire.kind == "list":
        return [f"rpc::to_list(out.{init(field.name)}({wire.count}), {path}, {wire.count});"]
    if wire.kind == "device":
        return [f"out.{setter(field.name)}(reinterpret_cast<uint64_t>({path}));"]
    if wire.kind == "enum":
        return [f"out.{setter(field.name)}(static_cast<int32_t>({path}));"]
    return [f"out.{setter(field.name)}({path});"]


def _get_plain(field: FieldPlan, path: str) -> list[str]:
    wire = field.wire
    if wire.kind == "raw":
        return ["rpc::from_data(in.getBytes(), &value, sizeof value);"]
    if wire.kind == "bytes":
        return [f"rpc::from_data(in.{getter(field.name)}(), {path}, sizeof {path});"]
    if wire.kind == "list":
        return [f"rpc::from_list(in.{getter(field.name)}(), {path}, {wire.count});"]
    if wire.kind == "device":
        return [f"{path} = reinterpret_cast<{wire.cxx}>(in.{getter(field.name)}());"]
    return [f"{path} = static_cast<{wire.cxx}>(in.{getter(field.name)}());"]
