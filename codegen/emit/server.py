"""server/dispatch_<api>_<family>.cpp: one function per remoted call, the mirror of its stub.

Nothing in a message is believed: handles are looked up by type, counts must match what came, room for results is
bounded. CUDA is called only if all of it holds.
"""

from __future__ import annotations

from codegen.emit.cxx import NOT_SUPPORTED, getter, has, init, setter, wrap
from codegen.emit.render import render
from codegen.plan import ApiPlan, Arg, Plan


def emit(api: ApiPlan) -> dict[str, str]:
    out = {}
    for family in api.families:
        plans = [p for p in api.remoted if p.family == family]
        if not plans:
            continue
        includes = ["server/dispatch.h", "server/dispatch_args.h", f"server/{api.api}_table.h",
                    f"rpc/schema/{api.api}_{family}.capnp.h"]
        if any(p.structs or _sizes(p) for p in plans):
            includes.append(f"server/{api.api}_structs.h")
        out[f"server/dispatch_{api.api}_{family}.cpp"] = render(
            "dispatch.cpp.j2", includes=sorted(includes), functions=[_dispatch(p) for p in plans])
    return out


def _dispatch(plan: Plan) -> str:
    lines: list[str] = []
    if any(a.goes_out or a.flag for a in plan.args):
        lines.append(f"const auto args = call.args<schema::{plan.schema}>();")
    for arg in sorted(plan.args, key=_after_its_count):
        lines += _take(arg)
    if lines:
        lines.append("if (!call.valid()) return call.refuse();")
    lines.append(f"const auto function = call.{plan.api}().{plan.name};")
    lines.append(f"if (function == nullptr) return call.finish({NOT_SUPPORTED[plan.api]});")
    lines.append(wrap("const int result = function(", [_pass(a) for a in plan.args], ");", 98))
    for arg in plan.args:
        if arg.role == "creates":
            object = f"reinterpret_cast<void*>({arg.name})" if arg.wire.integer_handle else arg.name
            lines += ["if (result == 0) {",
                      f"  call.bind(args.{getter(arg.field)}(), HandleType::{arg.wire.handle}, {object});", "}"]
        if arg.role == "destroys":
            lines += ["if (result == 0) {",
                      f"  call.unbind(args.{getter(arg.field)}(), HandleType::{arg.wire.handle});", "}"]
    if plan.has_results:
        lines.append(f"if ({'' if plan.always else 'result == 0 && '}call.wants_reply()) {{")
        lines.append(f"  auto results = call.results<schema::{plan.schema}Results>();")
        lines += ["  " + line for a in plan.args if a.comes_back for line in _give(a)]
        lines.append("}")
    lines.append("call.finish(result);")
    return "\n".join([f"void {plan.name}(CallContext& call) {{", *("  " + line for line in lines), "}", ""])


def _after_its_count(arg: Arg) -> bool:
    return arg.extent is not None


def _take(arg: Arg) -> list[str]:
    """From the message into locals."""
    name, wire = arg.name, arg.wire
    value = f"args.{getter(arg.field)}()"
    if arg.role in ("ignore", "null"):
        return []
    if arg.role == "creates":
        return [f"{wire.cxx} {name}{{}};"]
    if wire.kind == "text" and arg.role == "in":
        present = f"args.{has(arg.field)}() ? {value}.cStr() : nullptr" if arg.nullable else f"{value}.cStr()"
        return [f"const char* {name} = {present};"]
    if arg.extent is not None:
        return _take_room(arg) if arg.role == "out" else _take_many(arg)
    if arg.role == "out":
        return [f"{wire.cxx} {name}{{}};"]
    if wire.struct is not None:
        by = f", {arg.by}" if arg.by else ""
        get = f"get(call, {value}, {name}{by});"
        return [f"{wire.cxx} {name}{{}};", f"if (args.{has(arg.field)}()) {get}" if arg.nullable else get]
    constant = "" if arg.pointer else "const "
    return [f"{constant}auto {name} = {_one(wire, value)};"]


def _take_many(arg: Arg) -> list[str]:
    """An array from the program, whose count must be what it said."""
    name, wire, value = arg.name, arg.wire, f"args.{getter(arg.field)}()"
    less = f" - {arg.extent.less}" if arg.extent.less else ""
    told = {"param": lambda: arg.extent.name + less, "const": lambda: str(arg.extent.value),
            "sizes": lambda: f"size_by({arg.extent.name})"}[arg.extent.kind]()
    if arg.nullable:
        told = f"args.{has(arg.field)}() ? uint64_t({told}) : 0"
    else:
        told = f"uint64_t({told})"
    if wire.kind == "bytes":
        return [f'auto {name} = bytes_of(call, {told}, {value}, "{arg.param.name}");']
    lines = [f'auto {name} = elements<{wire.cxx}>(call, {told}, {value}.size(), "{arg.param.name}");']
    if wire.kind in ("int", "float", "enum", "bool"):
        return [*lines, f"rpc::from_list({value}, {name}.data(), {name}.size());"]
    lines.append(f"const auto {name}_list = {value};")
    each = (f"get(call, {name}_list[unsigned(i)], {name}[i]);" if wire.struct is not None
            else f"{name}[i] = {_one(wire, name + '_list[unsigned(i)]')};")
    return [*lines, f"for (size_t i = 0; i < {name}.size(); ++i) {{", f"  {each}", "}"]


def _take_room(arg: Arg) -> list[str]:
    name, wire, extent = arg.name, arg.wire, arg.extent
    count = {"param": extent.name, "inout": extent.name, "const": str(extent.value),
             "sizes": f"size_by({extent.name})"}[extent.kind]
    element = "std::byte" if wire.kind == "bytes" else "char" if wire.kind == "text" else wire.cxx
    if arg.flag:
        count = f"args.{getter(arg.flag)}() ? uint64_t({count}) : 0"
    else:
        count = f"uint64_t({count})"
    lines = [f'auto {name} = room_for<{element}>(call, {count}, "{arg.param.name}");']
    if extent.kind == "sizes":
        lines.append(f'if ({name}.empty()) call.invalidate("{arg.param.name}");')
    return lines


def _pass(arg: Arg) -> str:
    """As an argument of the CUDA function."""
    name, type = arg.name, arg.param.type
    if arg.role == "null":
        return "nullptr"
    if arg.role == "ignore":
        return "{}"
    if arg.role == "creates":
        return f"&{name}"
    if arg.wire.kind == "text" and arg.role == "in" or not arg.pointer:
        return name
    if arg.extent is not None:
        data = f"{name}.data()"
        if arg.flag:
            return f"args.{getter(arg.flag)}() ? {data} : nullptr"
        if arg.nullable:
            return f"args.{has(arg.field)}() ? {data} : nullptr"
        return data
    if arg.flag:
        return f"args.{getter(arg.flag)}() ? &{name} : nullptr"
    if arg.nullable:
        return f"args.{has(arg.field)}() ? &{name} : nullptr"
    return f"&{name}"


def _give(arg: Arg) -> list[str]:
    """Into the reply."""
    name, wire = arg.name, arg.wire
    put = f"results.{setter(arg.field)}"
    if arg.extent is None:
        if wire.struct is not None:
            by = f", {arg.by}" if arg.by else ""
            return [f"put(call, results.{init(arg.field)}(), {name}{by});"]
        return [f"{put}({_send(wire, name)});"]
    if wire.kind == "text":
        return [f"{put}(text_of({name}).c_str());"]
    if wire.kind == "bytes":
        return [f"{put}(rpc::to_data({name}.data(), {name}.size()));"]
    count = f"{name}.size()"
    lines = []
    if arg.extent.kind == "inout":
        lines.append(f"const size_t {name}_count = std::min<size_t>({name}.size(), size_t({arg.extent.name}));")
        count = f"{name}_count"
    start = f"results.{init(arg.field)}(unsigned({count}))"
    if wire.kind in ("int", "float", "enum", "bool"):
        return [*lines, f"rpc::to_list({start}, {name}.data(), {count});"]
    each = (f"put(call, {name}_list[unsigned(i)], {name}[i]);" if wire.struct is not None
            else f"{name}_list.set(unsigned(i), {_send(wire, name + '[i]')});")
    return [*lines, f"auto {name}_list = {start};", f"for (size_t i = 0; i < {count}; ++i) {{", f"  {each}", "}"]


def _one(wire, value: str) -> str:
    if wire.kind == "handle":
        return f"call.handle<{wire.cxx}>({value}, HandleType::{wire.handle})"
    if wire.kind == "device":
        return f"reinterpret_cast<{wire.cxx}>({value})"
    return f"static_cast<{wire.cxx}>({value})"


def _send(wire, value: str) -> str:
    if wire.kind == "handle":
        return f"intern(call, HandleType::{wire.handle}, {value})"
    if wire.kind == "device":
        return f"reinterpret_cast<uint64_t>({value})"
    return f"static_cast<int32_t>({value})" if wire.kind == "enum" else value


def _sizes(plan: Plan) -> bool:
    return any(a.extent is not None and a.extent.kind == "sizes" for a in plan.args)
