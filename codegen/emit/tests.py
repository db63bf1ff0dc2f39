"""tests/: for every remoted call a program's side, CUDA's side, and what must be equal. See codegen/testing/round_trip.h.

Both sides compute the same sample values from a parameter's position, so neither knows what the other did.
"""

from __future__ import annotations

from codegen.emit.cxx import wrap
from codegen.emit.render import render
from codegen.emit.structs import in_order
from codegen.plan import ApiPlan, Arg, FieldPlan, Plan, StructPlan


def emit(api: ApiPlan) -> dict[str, str]:
    out = {f"tests/{api.api}_samples.h": render(
        "samples.h.j2", api=api.api, header="cuda.h" if api.api == "driver" else "cuda_runtime_api.h",
        structs=[_struct(s) for s in in_order(api.structs)])}
    for family in api.families:
        plans = [p for p in api.remoted if p.family == family and p.kind == "remoted"]
        if not plans:
            continue
        aliases = [p for p in api.plans if p.kind == "as" and p.target in plans]
        out[f"tests/round_trip_{api.api}_{family}.cpp"] = render(
            "round_trip.cpp.j2", api=api.api, tests=[_Test(p, [a for a in aliases if a.target is p]).text()
                                                     for p in plans])
    return out


def emit_handlers(internal) -> dict[str, str]:
    return {"tests/handlers.cpp": render("handlers.cpp.j2", internal=internal)}


# --- Structs ----------------------------------------------------------------------------------------------------

def _struct(struct: StructPlan) -> dict:
    fill, compare = [], []
    fields = list(struct.fields)
    for switch in struct.switches:
        if not struct.external:
            fill.append(f"value.{switch.by} = {switch.cases[0][0][0]};")
        fields += switch.cases[0][1]
    chosen = {s.by for s in struct.switches if not struct.external}
    for k, field in enumerate(fields):
        if field.path not in chosen:
            fill += _fill(field, k)
        compare.append(_compare(field))
    return {"cxx": struct.cxx, "fill": fill, "compare": compare}


def _fill(field: FieldPlan, k: int) -> list[str]:
    wire, path = field.wire, f"value.{field.path}"
    if wire.kind == "raw":
        return ["std::memset(static_cast<void*>(&value), 33, sizeof value);"]
    if wire.kind == "handle":
        return [f"{path} = handle_on<{wire.cxx}>(side, HandleType::{wire.handle}, {k});"]
    if wire.kind == "struct":
        return [f"fill({path}, side);"]
    if wire.kind == "bytes":
        return [f"std::memset({path}, {33 + k}, sizeof {path});"]
    if wire.kind == "list":
        return [f"for (unsigned i = 0; i < {wire.count}; ++i) {path}[i] = sample<{wire.cxx}>({k} + i);"]
    return [f"{path} = sample<{wire.cxx}>({k});"]


def _compare(field: FieldPlan) -> str:
    path = field.path
    if field.wire.kind == "raw":
        return "std::memcmp(&a, &b, sizeof a) == 0"
    if field.wire.kind == "struct":
        return f"equal(a.{path}, b.{path})"
    if field.wire.kind in ("bytes", "list"):
        return f"std::memcmp(a.{path}, b.{path}, sizeof a.{path}) == 0"
    return f"a.{path} == b.{path}"


# --- Calls ------------------------------------------------------------------------------------------------------

class _Test:
    def __init__(self, plan: Plan, aliases: list[Plan]):
        self._plan = plan
        self._aliases = aliases
        self._counts = {a.extent.name for a in plan.args if a.extent is not None and a.extent.kind in ("param", "inout")}
        self._nullable = any(a.nullable for a in plan.args)
        text = any(a.wire is not None and a.wire.kind == "text" and a.extent is not None for a in plan.args)
        self._count = "kTextRoom" if text else "kCount"
        self._enumerators = {}  # parameter -> enumerator that it must have
        for arg in plan.args:
            if arg.extent is not None and arg.extent.kind == "sizes":
                self._enumerators[arg.extent.name] = next(iter(arg.extent.sizes.bytes))
            if arg.by:
                self._enumerators[arg.by] = arg.wire.struct.switches[0].cases[0][0][0]

    def text(self) -> str:
        plan = self._plan
        result = plan.function.result.spelling
        success = "CUDA_SUCCESS" if plan.api == "driver" else "cudaSuccess"
        failure = "CUDA_ERROR_UNKNOWN" if plan.api == "driver" else "cudaErrorUnknown"
        params = [a.param.type.spelling.replace(" *", "*") + ("" if a.role == "ignore" else f" {a.name}")
                  for a in plan.args]
        lines = [f"TEST({plan.api}_{plan.family}, {plan.name}) {{", f"  Trial trial(Opcode::k_{plan.name});",
                 wrap(f"  {plan.api}().{plan.name} = [](", params, f") -> {result} {{"),
                 f"    if (!arrived()) return {failure};"]
        for k, arg in enumerate(plan.args):
            lines += ["    " + line for line in self._at_cuda(arg, k)]
        lines += [f"    return {success};", "  };"]
        lines.append("  const auto once = [&](auto* entry) {")
        for k, arg in enumerate(plan.args):
            lines += ["    " + line for line in self._before(arg, k)]
        lines.append(wrap("    const auto result = entry(", [self._pass(a) for a in plan.args], ");"))
        lines += [f"    EXPECT_EQ(result, {success});", "    trial.settle();"]
        for k, arg in enumerate(plan.args):
            lines += ["    " + line for line in self._after(arg, k)]
        lines.append("  };")
        expected = self._calls(lines)
        lines += [f"  EXPECT_EQ(trial.calls(), {expected});", "  trial.cut();", "}", ""]
        return "\n".join(lines)

    def _calls(self, lines: list[str]) -> int:
        """Through every entry point; a cached answer is asked for once."""
        plan = self._plan
        cached = plan.wire_class == "cached"
        count = 0
        for nulls in ([False, True] if self._nullable else [False]):
            if nulls:
                lines.append("  trial.set_nulls(true);")
            entries = plan.variants * 2 if cached else plan.variants
            lines += [f"  once(&::{name});" for name in entries]
            count += 1 if cached else len(entries)
        if self._nullable:
            lines.append("  trial.set_nulls(false);")
            if not cached:  # what cut() replays has everything in it
                lines.append(f"  once(&::{plan.name});")
                count += 1
        for alias in self._aliases:
            if len(alias.function.params) == len(plan.function.params):
                lines.append(f"  once(&::{alias.name});")
                count += 1
                continue
            lines.append("  trial.set_default_stream(true);")
            lines += [f"  once(+[]({', '.join(p.type.spelling.replace(' *', '*') + f' p{i}' for i, p in enumerate(alias.function.params))}, "
                      f"{plan.function.params[-1].type.spelling}) {{",
                      f"    return ::{alias.name}({', '.join(f'p{i}' for i in range(len(alias.function.params)))});",
                      "  });", "  trial.set_default_stream(false);"]
            count += 1
        return count

    def _value(self, arg: Arg, k: int, side: str) -> str:
        """One value of a scalar or handle."""
        wire = arg.wire
        if arg.name in self._enumerators:
            return self._enumerators[arg.name]
        if arg.name in self._counts:
            return f"static_cast<{wire.cxx}>({self._count})"
        if wire.kind == "handle":
            where = "handle" if side == "client" else "codegen_testing::object"
            return f"{where}<{wire.cxx}>(HandleType::{wire.handle}, {k})"
        return f"sample<{wire.cxx}>({k})"

    def _element(self, arg: Arg, k: int, side: str) -> str:
        wire = arg.wire
        if wire.kind == "handle":
            return f"{'handle' if side == 'client' else 'codegen_testing::object'}<{wire.cxx}>(HandleType::{wire.handle}, {k} + i)"
        return f"sample<{wire.cxx}>({k} + i)"

    def _size(self, arg: Arg) -> str:
        if arg.extent.kind == "const":
            return str(arg.extent.value)
        if arg.extent.kind == "sizes":
            return str(next(iter(arg.extent.sizes.bytes.values())))
        return f"({self._count} - {arg.extent.less})" if arg.extent.less else self._count

    # The program's side, before the call.
    def _before(self, arg: Arg, k: int) -> list[str]:
        name, wire = f"a_{arg.name}", arg.wire
        if arg.role in ("null", "ignore") or (arg.role == "in" and wire.kind == "text"):
            return []
        if arg.role == "destroys":
            lines = [f"const rpc::HandleId {name}_id = fresh_id_for(HandleType::{wire.handle});",
                     f"const auto {name} = as_handle<{wire.cxx}>({name}_id);"]
        elif arg.extent is not None:
            lines = self._array(arg, k)
        elif wire.struct is not None:
            lines = [f"{wire.cxx} {name}{{}};"]
            if arg.role in ("in", "inout"):
                lines.append(f"fill({name}, Side::kClient);")
        elif arg.role in ("out", "creates"):
            lines = [f"{wire.cxx} {name}{{}};"]
        else:
            lines = [f"{wire.cxx} {name} = {self._value(arg, k, 'client')};"]
        if arg.frees:
            lines.append(f"client::note_allocation(session(), client::address_of({name}), 64);")
        return lines

    def _array(self, arg: Arg, k: int) -> list[str]:
        name, wire, size = f"a_{arg.name}", arg.wire, self._size(arg)
        if wire.kind == "bytes":
            if arg.role == "in":
                return [f"auto {name} = sample_bytes({size});"]
            return [f"std::vector<unsigned char> {name}({size});"]
        element = "char" if wire.kind == "text" else wire.cxx
        lines = [f"std::vector<{element}> {name}({size});"]
        if arg.role == "in":
            if wire.struct is not None:
                lines.append(f"for (auto& value : {name}) fill(value, Side::kClient);")
            else:
                lines.append(f"for (unsigned i = 0; i < {size}; ++i) {name}[i] = {self._element(arg, k, 'client')};")
        return lines

    def _pass(self, arg: Arg) -> str:
        name = f"a_{arg.name}"
        if arg.role == "null":
            return "nullptr"
        if arg.role == "ignore":
            return "{}" if not arg.param.type.is_pointer else "nullptr"
        if arg.wire.kind == "text" and arg.role == "in":
            text = "kTextIn"
            return f"nulls() ? nullptr : {text}" if arg.nullable else text
        if not arg.pointer:
            return name
        pointer = f"{name}.data()" if arg.extent is not None else f"&{name}"
        return f"nulls() ? nullptr : {pointer}" if arg.nullable else pointer

    # CUDA's side.
    def _at_cuda(self, arg: Arg, k: int) -> list[str]:
        name = arg.name
        if arg.role == "ignore":
            return []
        if arg.role == "null":
            return [f'same<const void*>("{name}", {name}, nullptr);']
        if arg.nullable:
            return ["if (nulls()) {", f'  same<const void*>("{name}", {name}, nullptr);', "} else {",
                    *("  " + line for line in self._with_value(arg, k)), "}"]
        return self._with_value(arg, k)

    def _with_value(self, arg: Arg, k: int) -> list[str]:
        name, wire, role = arg.name, arg.wire, arg.role
        if role == "creates":
            return [f"*{name} = as_handle<{wire.cxx}>(make_object());"]
        if role == "destroys":
            return [f'same("{name}", {name}, as_handle<{wire.cxx}>(last_object()));']
        if wire.kind == "text" and role == "in":
            return [f'same("{name}", std::strcmp({name}, kTextIn), 0);']
        if arg.extent is not None:
            return self._array_at_cuda(arg, k)
        value = f"*{name}" if arg.pointer else name
        if wire.struct is not None:
            lines = [f"{wire.cxx} wanted_{name}{{}};", f"fill(wanted_{name}, Side::kServer);"]
            if role in ("in", "inout"):
                lines.append(f'same("{name}", equal({value}, wanted_{name}), true);')
            if role in ("out", "inout"):
                lines.append(f"{value} = wanted_{name};")
            return lines
        if role == "in" and wire.is_stream and not arg.pointer:
            wanted = f"default_stream() ? nullptr : {self._value(arg, k, 'server')}"
            return [f'same("{name}", {name}, {wanted});']
        if role == "in":
            cast = "const_cast" if wire.kind == "device" else "static_cast"
            return [f'same("{name}", {cast}<{wire.cxx}>({value}), {self._value(arg, k, "server")});']
        if role == "inout":
            lines = [f'same("{name}", {value}, {self._value(arg, k, "server")});']
            if arg.name in self._counts:
                lines.append(f"{value} -= 1;")
            return lines
        return [f"{value} = {self._value(arg, k, 'server')};"]

    def _array_at_cuda(self, arg: Arg, k: int) -> list[str]:
        name, wire, size = arg.name, arg.wire, self._size(arg)
        if wire.kind == "text":
            return [f"std::strcpy({name}, kTextOut);"]
        if wire.kind == "bytes" and arg.role == "in":
            return [f'same("{name}", std::memcmp({name}, sample_bytes({size}).data(), {size}), 0);']
        if wire.kind == "bytes":
            return [f"std::memcpy({name}, sample_bytes({size}).data(), {size});"]
        head = f"for (unsigned i = 0; i < {size}; ++i) {{"
        if wire.struct is not None:
            use = f'same("{name}", equal({name}[i], wanted), true);' if arg.role == "in" else f"{name}[i] = wanted;"
            return [head, f"  {wire.cxx} wanted{{}};", "  fill(wanted, Side::kServer);", f"  {use}", "}"]
        if arg.role == "in":
            return [head, f'  same("{name}", static_cast<{wire.cxx}>({name}[i]), {self._element(arg, k, "server")});', "}"]
        return [head, f"  {name}[i] = {self._element(arg, k, 'server')};", "}"]

    # The program's side, after the call.
    def _after(self, arg: Arg, k: int) -> list[str]:
        name, wire = f"a_{arg.name}", arg.wire
        if arg.role == "creates":
            lines = [f"same<const void*>(\"{arg.name}\", server_handles().find(uint64_t({name}), HandleType::{wire.handle}),",
                     "                  reinterpret_cast<const void*>(last_object()));",
                     f"EXPECT_TRUE(session().valid(uint64_t({name}), HandleType::{wire.handle}));"]
        elif arg.role == "destroys":
            lines = [f"EXPECT_FALSE(session().valid({name}_id, HandleType::{wire.handle}));",
                     f"EXPECT_EQ(server_handles().find({name}_id, HandleType::{wire.handle}), nullptr);"]
        elif arg.comes_back:
            lines = self._came_back(arg, k)
            if arg.nullable:
                lines = ["if (!nulls()) {", *("  " + line for line in lines), "}"]
        else:
            lines = []
        if arg.allocates:
            lines.append(f"EXPECT_TRUE(client::note_free(client::address_of({name})));")
        return lines

    def _came_back(self, arg: Arg, k: int) -> list[str]:
        name, wire = f"a_{arg.name}", arg.wire
        if arg.extent is None:
            if wire.struct is not None:
                return [f"{wire.cxx} wanted_{name}{{}};", f"fill(wanted_{name}, Side::kClient);",
                        f"EXPECT_TRUE(equal({name}, wanted_{name}));"]
            minus = " - 1" if arg.role == "inout" and arg.name in self._counts else ""
            return [f'same<{wire.cxx}>("{arg.name}", {name}, {self._value(arg, k, "client")}{minus});']
        size = self._size(arg)
        if wire.kind == "text":
            return [f"EXPECT_STREQ({name}.data(), kTextOut);"]
        if wire.kind == "bytes":
            return [f"EXPECT_EQ({name}, sample_bytes({size}));"]
        if arg.extent.kind == "inout":
            size += " - 1"
        head = f"for (unsigned i = 0; i < {size}; ++i) {{"
        if wire.struct is not None:
            return [head, f"  {wire.cxx} wanted{{}};", "  fill(wanted, Side::kClient);",
                    f"  EXPECT_TRUE(equal({name}[i], wanted));", "}"]
        return [head, f'  same<{wire.cxx}>("{arg.name}", {name}[i], {self._element(arg, k, "client")});', "}"]
