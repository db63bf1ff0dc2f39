"""client/: the exported stubs, the declarations of hand-written bodies, and the version scripts.

A stub has four phases: check the arguments (no lock is held yet), build the message in place, send, hand back the
results. Every line of a stub comes from one function below, per phase and shape of argument.
"""

from __future__ import annotations

from pathlib import Path

from codegen.emit.cxx import (INVALID_HANDLE, INVALID_VALUE, NOT_SUPPORTED, declare, export_head, getter, init,
                              setter, wrap)
from codegen.emit.render import render
from codegen.model import Function
from codegen.names import cxx_name
from codegen.plan import ApiPlan, Arg, Plan

_HEADERS = {"driver": ["cuda.h", "cudaProfiler.h"], "runtime": ["cuda_runtime_api.h", "cuda_profiler_api.h"]}


def emit(api: ApiPlan, library: Path | None) -> dict[str, str]:
    """`library`: the original, whose symbol version ours must have; None: it has none."""
    out = {}
    for family in api.families:
        plans = [p for p in api.plans if p.family == family]
        if not plans:
            continue
        remoted = [p for p in plans if p.kind == "remoted"]
        includes = ["client/api.h", f"client/{api.api}_bodies.h", "client/stub.h", "client/stub_args.h"]
        if any(p.structs or _sizes(p) for p in remoted):
            includes.append(f"client/{api.api}_structs.h")
        if remoted:
            includes.append(f"rpc/schema/{api.api}_{family}.capnp.h")
        functions = [_shared(p) for p in remoted if _is_shared(p, plans)]
        functions += [_stub(p, name, plans) for p in plans for name in p.variants]
        out[f"client/{api.api}_{family}.cpp"] = render("client.cpp.j2", api=api.api, includes=sorted(includes),
                                                       functions=functions, remoted=bool(remoted))
    refused = [_unsupported(api.api, name, function, reason) for name, function, reason in api.unsupported]
    refused += [_handwritten(name) for name in api.handwritten]
    out[f"client/{api.api}_unsupported.cpp"] = render("client.cpp.j2", api=api.api,
                                                      includes=["client/api.h", f"client/{api.api}_bodies.h",
                                                                "client/stub.h"], functions=refused, remoted=False)
    bodies = [p for p in api.plans if p.kind in ("local", "custom")]
    out[f"client/{api.api}_bodies.h"] = render("bodies.h.j2", api=api.api, headers=_HEADERS[api.api],
                                               declarations=[_body_head(p) + ";" for p in bodies])
    out[f"client/{api.api}_missing_bodies.cpp"] = render("missing_bodies.cpp.j2", api=api.api,
                                                         bodies=[_missing_body(p) for p in bodies])
    names = [n for p in api.plans for n in p.variants] + [n for n, _, _ in api.unsupported] + api.handwritten
    script = "libcuda.map" if api.api == "driver" else "libcudart.map"
    out[f"client/{script}"] = render("exports.map.j2", version=library.name if library else "", names=sorted(names))
    return out


# --- Frames -----------------------------------------------------------------------------------------------------

def _is_shared(plan: Plan, plans: list[Plan]) -> bool:
    """Several exports use it, so it is a function of its own."""
    return plan.has_per_thread or any(p.target is plan for p in plans)


def _stub(plan: Plan, name: str, plans: list[Plan]) -> str:
    names = [cxx_name(p.name) for p in plan.function.params]
    head = export_head(plan.api, plan.function, name, names)
    result = plan.function.result.spelling
    per_thread = name != plan.name
    body = plan.target or plan
    given = list(names)
    if len(body.function.params) > len(names):
        given.append("nullptr")  # the default stream
    if body.kind == "local":
        if _takes_per_thread(body):
            given.append("true" if per_thread else "false")
        call = wrap("    return " + f"{plan.api}::{body.name}(", given, ");")
        return (f"{head}\n  return enter_local<{result}>(Opcode::k_{plan.name}, [&] {{\n{call}\n  }});\n}}\n")
    lines = [head, f"  return enter<{result}>(Opcode::k_{plan.name}, [&](Session& session) -> int {{"]
    if body.kind == "custom":
        given = ["session", *given]
        if _takes_per_thread(body):
            given.append("true" if per_thread else "false")
        lines.append(wrap(f"    return {plan.api}::{body.name}(", given, ");"))
    elif _is_shared(body, plans):
        given = ["session", *given]
        if _takes_per_thread(body):
            given.append("true" if per_thread else "false")
        lines.append(wrap(f"    return call_{body.name}(", given, ");"))
    else:
        lines += ["    " + line for line in _remote_call(plan)]
    return "\n".join([*lines, "  });", "}", ""])


def _shared(plan: Plan) -> str:
    names = [cxx_name(p.name) for p in plan.function.params]
    params = ["Session& session", *(declare(p, n) for p, n in zip(plan.function.params, names))]
    if _takes_per_thread(plan):
        params.append("bool per_thread_default")
    head = wrap(f"static int call_{plan.name}(", params, ") {")
    return "\n".join([head, *("  " + line for line in _remote_call(plan)), "}", ""])


def _takes_per_thread(plan: Plan) -> bool:
    """Its body must be told which entry point was used."""
    if plan.kind == "remoted":
        return plan.has_per_thread and any(a.role == "in" and a.wire.is_stream for a in plan.args)
    return plan.has_per_thread


def _unsupported(api: str, name: str, function: Function | None, reason: str) -> str:
    if function is None:  # nobody declares it: any arguments, ignored
        return (f'extern "C" FARCALL_API cudaError_t {name}() {{\n'
                f'  return not_supported<cudaError_t>("{name}", "{reason}");\n}}\n')
    result = function.result.spelling
    head = f'extern "C" FARCALL_API {result.replace(" *", "*")} {"CUDAAPI" if api == "driver" else "CUDARTAPI"} {name}('
    head = wrap(head, [p.type.spelling.replace(" *", "*") for p in function.params], ") {")
    return f'{head}\n  return not_supported<{result}>("{name}", "{reason}");\n}}\n'


def _handwritten(name: str) -> str:
    """Stands in until client/runtime/ defines the export itself."""
    return (f'extern "C" FARCALL_API __attribute__((weak)) cudaError_t {name}() {{\n'
            f'  return not_supported<cudaError_t>("{name}", "not written yet");\n}}\n')


def _body_head(plan: Plan) -> str:
    params = [declare(p, cxx_name(p.name)) for p in plan.function.params]
    result = plan.function.result.spelling.replace(" *", "*")
    if plan.kind == "custom":
        params, result = ["Session& session", *params], "int"
    if _takes_per_thread(plan):
        params.append("bool per_thread_default")
    return wrap(f"{result} {plan.name}(", params, ")")


def _missing_body(plan: Plan) -> str:
    result = plan.function.result.spelling
    params = [p.type.spelling.replace(" *", "*") for p in plan.function.params]
    if plan.kind == "custom":
        params = ["Session&", *params]
    if _takes_per_thread(plan):
        params.append("bool")
    head = wrap(f"[[gnu::weak]] {'int' if plan.kind == 'custom' else result.replace(' *', '*')} {plan.name}(", params,
                ") {")
    return f'{head}\n  return not_supported<{result}>("{plan.name}", "not written yet");\n}}\n'


# --- A remoted call ---------------------------------------------------------------------------------------------

def _remote_call(plan: Plan) -> list[str]:
    lines: list[str] = []
    for arg in plan.args:
        lines += _check(plan, arg)
    for arg in plan.args:
        if arg.frees:  # last, because it cannot be taken back
            lines.append(f"if (!note_free(address_of({arg.name}))) return {INVALID_VALUE[plan.api]};")
    posts_creation = plan.wire_class == "async" and any(arg.role == "creates" for arg in plan.args)
    if posts_creation:
        lines.append("if (const int error = broken_context(session); error != 0) return error;")
    for arg in plan.args:
        if arg.role == "creates":
            lines.append(f"Minted {arg.name}_handle(session, HandleType::{arg.wire.handle});")
    cached = plan.wire_class == "cached"
    lines.append(f"{'CachedCall' if cached else 'Call'} call(session, Opcode::k_{plan.name});")
    sets = [line for arg in plan.args for line in _set(plan, arg)]
    message = f"call.args<schema::{plan.schema}>()"
    lines += [f"auto args = {message};", *sets] if sets else [f"{message};"]
    if plan.wire_class == "async":
        lines.append(f"const int result = call.{'post_creation' if posts_creation else 'post'}();")
        succeeded = "result == 0"
    else:
        lines.append("Reply reply = call.wait();")
        # What the call itself did counts: with an earlier failure to report, the server has made the object all the same.
        succeeded = "reply.own_result() == 0"
    done = [line for arg in plan.args for line in _finish(plan, arg)]
    if plan.has_results:
        # Counts first: the arrays they measure come after them.
        back = sorted((a for a in plan.args if a.comes_back), key=lambda a: a.extent is not None)
        results = [f"auto results = reply.results<schema::{plan.schema}Results>();",
                   *(line for arg in back for line in _get(arg))]
        if plan.always:
            lines += ["if (reply.has_results()) {", *("  " + line for line in results), "}"]
        else:
            done = results + done
    if plan.forgets:
        done.append("session.forget_cached();")
    if done:
        lines += [f"if ({succeeded}) {{", *("  " + line for line in done), "}"]
    return [*lines, "return result;" if plan.wire_class == "async" else "return reply.result();"]


def _check(plan: Plan, arg: Arg) -> list[str]:
    invalid = f"return {INVALID_VALUE[plan.api]};"
    bad_handle = f"return {INVALID_HANDLE[plan.api]};"
    name, wire = arg.name, arg.wire
    if arg.role == "ignore":
        return [f"(void){name};"]
    if arg.role == "null":
        result = plan.function.result.spelling
        return [f"if ({name} != nullptr) {{",
                f'  return not_supported<{result}>("{plan.name}", "{name} must be NULL");', "}"]
    lines: list[str] = []
    if not arg.pointer and wire.kind != "text":
        if wire.is_stream and arg.role != "destroys":
            flavour = "per_thread_default" if _takes_per_thread(plan) else "false"
            lines.append(f"const HandleId {name}_handle = stream_id(session, {name}, {flavour});")
        elif wire.kind == "handle":
            lines.append(f"const HandleId {name}_handle = {_id(wire, name)};")
        if wire.kind == "handle":
            test = "session.valid" if arg.role == "destroys" else "usable"
            first = f"{name}_handle" if test == "session.valid" else f"session, {name}_handle"
            lines.append(f"if (!{test}({first}, HandleType::{wire.handle})) {bad_handle}")
        return lines
    count = _count(arg)
    if not arg.nullable:
        empty = f" && {count} != 0" if arg.extent is not None and arg.extent.kind == "param" else ""
        lines.append(f"if ({name} == nullptr{empty}) {invalid}")
    if arg.extent is not None:
        if arg.extent.kind == "sizes":
            lines.append(f"const size_t {name}_bytes = size_by({arg.extent.name});")
            lines.append(f"if ({name}_bytes == 0) return {NOT_SUPPORTED[plan.api]};")
        elif arg.extent.kind == "inout":
            given = f"{name} != nullptr && {arg.extent.name} != nullptr"
            lines += [f"const size_t {name}_count =", f"    {given} ? size_t(*{arg.extent.name}) : 0;"]
        if arg.extent.kind in ("param", "inout"):
            size = "" if wire.kind in ("bytes", "text") else f" / sizeof(*{name})"
            lines.append(f"if ({count} > kArgumentBytesMax{size}) return {NOT_SUPPORTED[plan.api]};")
    if arg.role == "in" and wire.kind == "handle" and arg.extent is not None:
        guard = f"{name} != nullptr && " if arg.nullable else ""
        lines += [f"for (size_t i = 0; {guard}i < {count}; ++i) {{",
                  f"  if (!usable(session, {_id(wire, f'{name}[i]')}, HandleType::{wire.handle})) {bad_handle}", "}"]
    elif arg.role == "in" and wire.kind == "handle":
        guard = f"{name} != nullptr && " if arg.nullable else ""
        lines.append(f"if ({guard}!usable(session, {_id(wire, '*' + name)}, HandleType::{wire.handle})) {bad_handle}")
    return lines


def _set(plan: Plan, arg: Arg) -> list[str]:
    if not arg.goes_out:
        return [f"args.{setter(arg.flag)}({arg.name} != nullptr);"] if arg.flag else []
    name, wire, put = arg.name, arg.wire, f"args.{setter(arg.field)}"
    if arg.role in ("creates", "destroys"):
        value = f"{name}_handle.id()" if arg.role == "creates" else f"{name}_handle"
        return [f"{put}({value});"]
    if wire.kind == "text":
        return [f"if ({name} != nullptr) {put}({name});" if arg.nullable else f"{put}({name});"]
    if not arg.pointer:
        if wire.kind == "handle":
            return [f"{put}({name}_handle);"]
        if wire.kind == "struct":
            return [f"if (const int error = put(session, args.{init(arg.field)}(), {name}); error != 0) return error;"]
        return [f"{put}({_value(wire, name)});"]
    lines = [f"args.{setter(arg.flag)}({name} != nullptr);"] if arg.flag else []
    if arg.extent is None:
        one = _set_one(arg)
    else:
        one = _set_many(arg)
    empty = arg.extent is not None and arg.extent.kind == "param"
    if arg.nullable or empty:
        return [*lines, f"if ({name} != nullptr) {{", *("  " + line for line in one), "}"]
    return [*lines, *one]


def _set_one(arg: Arg) -> list[str]:
    name, wire = arg.name, arg.wire
    if wire.struct is not None:
        by = f", {arg.by}" if arg.by else ""
        return [f"if (const int error = put(session, args.{init(arg.field)}(), *{name}{by}); error != 0) return error;"]
    value = _id(wire, f"*{name}") if wire.kind == "handle" else _value(wire, f"*{name}")
    return [f"args.{setter(arg.field)}({value});"]


def _set_many(arg: Arg) -> list[str]:
    name, wire, count = arg.name, arg.wire, _count(arg)
    if wire.kind == "bytes":
        return [f"args.{setter(arg.field)}(rpc::to_data({name}, {count}));"]
    start = f"args.{init(arg.field)}({count.replace('size_t(', 'unsigned(')})"
    if wire.kind in ("int", "float", "enum", "bool"):
        return [f"rpc::to_list({start}, {name}, {count});"]
    if wire.struct is not None:
        inner = [f"  if (const int error = put(session, list[unsigned(i)], {name}[i]); error != 0) return error;"]
    else:
        value = _id(wire, f"{name}[i]") if wire.kind == "handle" else f"address_of({name}[i])"
        inner = [f"  list.set(unsigned(i), {value});"]
    return [f"auto list = {start};", f"for (size_t i = 0; i < {count}; ++i) {{", *inner, "}"]


def _get(arg: Arg) -> list[str]:
    name, wire = arg.name, arg.wire
    value = f"results.{getter(arg.field)}()"
    if arg.extent is None:
        if wire.struct is not None:
            by = f", {arg.by}" if arg.by else ""
            line = f"get({value}, *{name}{by});"
        else:
            line = f"*{name} = {_back(wire, value)};"
        return [f"if ({name} != nullptr) {line}" if arg.nullable else line]
    count = _count(arg)
    if arg.extent.kind == "inout":
        given, count = _count(arg), f"{name}_got"
    if wire.kind == "text":
        lines = [f"rpc::from_text({value}, {name}, {count});"]
    elif wire.kind == "bytes":
        lines = [f"rpc::from_data({value}, {name}, {count});"]
    elif wire.kind in ("int", "float", "enum", "bool"):
        lines = [f"rpc::from_list({value}, {name}, {count});"]
    else:
        each = f"get(list[i], {name}[i]);" if wire.struct is not None else f"{name}[i] = {_back(wire, 'list[i]')};"
        lines = [f"const auto list = {value};",
                 f"for (unsigned i = 0; i < list.size() && i < {count}; ++i) {{", f"  {each}", "}"]
    if arg.extent.kind == "inout":
        lines.insert(0, f"const size_t {count} = std::min<size_t>({given}, size_t(*{arg.extent.name}));")
    if arg.nullable or len(lines) > 1:
        condition = f"if ({name} != nullptr) " if arg.nullable else ""
        return [f"{condition}{{", *("  " + line for line in lines), "}"]
    return lines


def _finish(plan: Plan, arg: Arg) -> list[str]:
    """After success."""
    lines = []
    if arg.role == "creates":
        lines.append(f"*{arg.name} = {_back(arg.wire, f'{arg.name}_handle.keep()')};")
    if arg.role == "destroys":
        lines.append(f"session.release({arg.name}_handle);")
    if arg.allocates:
        address = f"*{arg.name}" if arg.pointer else arg.name
        if arg.allocates == "?":
            return [*lines, f"note_allocation_of_unknown_size(session, address_of({address}));"]
        lines.append(f"note_allocation(session, address_of({address}), {cxx_name(arg.allocates)});")
    return lines


def _count(arg: Arg) -> str:
    if arg.extent is None:
        return ""
    if arg.extent.kind == "const":
        return str(arg.extent.value)
    less = f" - {arg.extent.less}" if arg.extent.less else ""
    return {"param": f"size_t({arg.extent.name}{less})", "inout": f"{arg.name}_count",
            "sizes": f"{arg.name}_bytes"}[arg.extent.kind]


def _id(wire, value: str) -> str:
    return f"HandleId({value})" if wire.integer_handle else f"id_of({value})"


def _value(wire, value: str) -> str:
    if wire.kind == "enum":
        return f"static_cast<int32_t>({value})"
    if wire.kind == "device":
        return f"address_of({value})"
    return value


def _back(wire, value: str) -> str:
    if wire.kind == "handle" and not wire.integer_handle:
        return f"handle_from<{wire.cxx}>({value})"
    if wire.kind == "device":
        return f"reinterpret_cast<{wire.cxx}>({value})"
    return f"static_cast<{wire.cxx}>({value})"


def _sizes(plan: Plan) -> bool:
    return any(a.extent is not None and a.extent.kind == "sizes" for a in plan.args)
