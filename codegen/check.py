"""Joins header and annotations into plans, and refuses what they do not prove, with the line that should say more.

The rule is: a value crosses the wire only if its extent, its direction and its life are known. A scalar tells them
itself; a pointer mostly does not, so the annotation must.
"""

from __future__ import annotations

from codegen import model as m
from codegen.annotations import WIRE_CLASSES, Annotations, Entry, Fact
from codegen.errors import Refused
from codegen.names import cxx_name, schema_field, schema_type
from codegen.plan import (HANDLES, INTEGER_HANDLES, ApiPlan, Arg, Extent, FieldPlan, Plan, StructPlan, Switch, Wire)

NOT_ANNOTATED = "not in this version"


def plan_api(api: m.Api, notes: Annotations) -> ApiPlan:
    return _Planner(api, notes).run()


def check_schema_names(apis: list[ApiPlan]) -> None:
    """All schemas share one namespace, in C++ too: the same name twice would be two types that a linker takes for one."""
    taken: dict[str, str] = {}
    for api in apis:
        names = [(p.schema, p.name) for p in api.remoted] + [(s.schema, s.cxx) for s in api.structs]
        names += [(p.schema + "Results", p.name) for p in api.remoted]
        for schema, name in names:
            if schema in taken:
                raise Refused(f"codegen: error: {name} and {taken[schema]} are both {schema} in the schema")
            taken[schema] = name


class _Cannot(Exception):
    """Why a type has no form on the wire; becomes a refusal where the line is known."""


class _Planner:
    def __init__(self, api: m.Api, notes: Annotations):
        self._api = api
        self._notes = notes
        self._structs: dict[str, StructPlan] = {}
        self._plans: dict[str, Plan] = {}

    def run(self) -> ApiPlan:
        out = ApiPlan(self._api.name, self._notes.families, [], [], [], [], [])
        for entry in self._notes.entries.values():
            self._check_name(entry)
        for function in self._api.functions.values():
            if not function.per_thread and function.name in self._notes.entries:
                self._decide(out, function, self._notes.entries[function.name])
        self._resolve_aliases(out)
        self._sort_out_exports(out)
        out.structs = [s for s in self._structs.values()]
        return out

    # --- Functions ----------------------------------------------------------------------------------------------

    def _check_name(self, entry: Entry) -> None:
        if entry.name in self._api.undeclared:
            if entry.classes not in (["unsupported"], ["handwritten"]):
                raise entry.refuse("no header declares it, so only `handwritten` or `unsupported` can be said of it")
        elif entry.name not in self._api.functions:
            raise entry.refuse("is not declared by the CUDA headers")
        elif entry.name.endswith(("_ptsz", "_ptds")):
            raise entry.refuse(f"a per-thread form follows from {entry.name[:-5]}; annotate that one")

    def _decide(self, out: ApiPlan, function: m.Function, entry: Entry) -> None:
        kinds = [c for c in entry.classes if c not in WIRE_CLASSES]
        if len(kinds) > 1 or len([c for c in entry.classes if c in WIRE_CLASSES]) > 1:
            raise entry.refuse(f"has several classes: {', '.join(entry.classes)}")
        kind = kinds[0] if kinds else "remoted"
        wire_class = entry.wire_class
        if kind not in ("remoted", "custom"):
            if wire_class:
                raise entry.refuse(f"{kind} and {wire_class} exclude each other")
        if not wire_class and (entry.facts or entry.flags):
            raise entry.refuse(f"facts about parameters mean nothing for a function of class {kind}")
        if kind in ("unsupported", "handwritten"):
            if kind == "handwritten":
                raise entry.refuse("a header declares it; write custom or local")
            return
        variants = [function.name] + [function.name + s for s in ("_ptsz", "_ptds")
                                      if function.name + s in self._api.functions]
        plan = Plan(self._api.name, function, entry, kind, wire_class, schema_type(function.name), variants=variants,
                    forgets="forgets" in entry.flags, always="always" in entry.flags)
        if wire_class or kind == "custom":
            self._check_result(plan)
        if wire_class:
            self._plan_args(plan)
        self._plans[plan.name] = plan
        out.plans.append(plan)

    def _check_result(self, plan: Plan) -> None:
        if plan.function.result.spelling not in ("CUresult", "cudaError_t"):
            raise plan.entry.refuse(f"returns {plan.function.result.spelling}, not a CUDA result; write local")

    def _resolve_aliases(self, out: ApiPlan) -> None:
        for plan in out.plans:
            if plan.kind != "as":
                continue
            entry, target = plan.entry, self._plans.get(plan.entry.target)
            if target is None or target.kind == "as":
                raise entry.refuse(f"{entry.target} has no body of its own to share")
            if target.kind == "remoted" and target.family != plan.family:
                raise entry.refuse(f"{target.name} is in family {target.family}; put both into one")
            mine = [p.type.spelling for p in plan.function.params]
            theirs = [p.type.spelling for p in target.function.params]
            if mine != theirs:
                extra = target.function.params[-1].type if theirs else None
                if theirs[:-1] != mine or extra.opaque_name != "CUstream_st":
                    raise entry.refuse(f"{target.name} takes other parameters: ({', '.join(theirs)})")
            plan.target = target

    def _sort_out_exports(self, out: ApiPlan) -> None:
        """Every export that has no stub of its own says NOT_SUPPORTED."""
        stubs = set()
        for plan in out.plans:
            able = plan
            if plan.kind == "as":
                able = plan.target
            if plan.has_per_thread and able.kind == "remoted" and not self._takes_stream(able):
                for name in plan.variants[1:]:
                    out.unsupported.append((name, self._api.functions[name], "needs the per-thread default stream"))
                stubs.update(plan.variants)
                plan.variants = plan.variants[:1]
            stubs.update(plan.variants)
        for name in self._api.exports:
            base = name[:-5] if name.endswith(("_ptsz", "_ptds")) else name
            entry = self._notes.entries.get(base)
            if name in stubs:
                continue
            if entry is not None and entry.classes == ["handwritten"]:
                out.handwritten.append(name)
                continue
            if entry is None:
                out.undecided.append(name)
            reason = entry.reason if entry is not None else NOT_ANNOTATED
            out.unsupported.append((name, self._api.functions.get(name), reason))

    @staticmethod
    def _takes_stream(plan: Plan) -> bool:
        return any(p.type.opaque_name == "CUstream_st" for p in plan.function.params)

    # --- Parameters ---------------------------------------------------------------------------------------------

    def _plan_args(self, plan: Plan) -> None:
        entry, function = plan.entry, plan.function
        for fact in entry.facts:
            if function.find(fact.param) is None:
                raise entry.refuse(f"has no parameter '{fact.param}'")
        for param in function.params:
            plan.args.append(self._plan_arg(plan, param))
        fields = [a.field for a in plan.args]
        for a in plan.args:
            if fields.count(a.field) > 1:
                raise entry.refuse(f"two parameters are called '{a.field}' in the schema")
        for a in plan.args:
            self._check_extent(plan, a)
        self._check_class(plan)

    def _plan_arg(self, plan: Plan, param: m.Param) -> Arg:
        entry = plan.entry
        facts = entry.of(param.name)
        roles = [w for w in facts if w in ("in", "out", "inout", "creates", "destroys", "ignore", "null")]
        if len(roles) > 1:
            raise entry.refuse(f"'{param.name}' is both {roles[0]} and {roles[1]}")
        role = roles[0] if roles else ""
        arg = Arg(param, cxx_name(param.name), schema_field(param.name), role, None)
        fact = facts.get(role, Fact(role, param.name))
        arg.nullable = "nullable" in facts
        if role in ("ignore", "null"):
            if role == "null" and not param.type.is_pointer:
                raise entry.refuse(f"'{param.name}' is {param.type.spelling}, not a pointer that could be NULL")
            return arg
        try:
            self._direct(arg, fact, facts)
        except _Cannot as why:
            raise entry.refuse(f"'{param.name}' {why}") from None
        if "allocates" in facts:
            arg.allocates = facts["allocates"].extent
            if arg.allocates and plan.function.find(arg.allocates) is None:
                raise entry.refuse(f"has no parameter '{arg.allocates}'; write `allocates {param.name}[size]` with a "
                                   f"parameter for the size, or `allocates {param.name}` if the server must be asked")
            arg.allocates = arg.allocates or "?"
        arg.frees = "frees" in facts
        return arg

    def _direct(self, arg: Arg, fact: Fact, facts: dict[str, Fact]) -> None:
        """Fills role, wire, pointer and extent."""
        type, role = arg.param.type, arg.role
        device = "device" in facts
        if not type.is_pointer or type.opaque_name or (device and type.target.kind == m.VOID):
            self._direct_value(arg, type, device)
            return
        target = type.target
        if target.kind == m.FUNCTION:
            raise _Cannot(f"is a function pointer ({type.spelling}); a callback needs a custom body")
        text = target.kind == m.INT and target.is_char and target.const
        if role in ("", "in") and not fact.extent and (text or "string" in facts):
            arg.role, arg.wire = "in", Wire("text", "Text", type.spelling)
            return
        if fact.extent:
            name, _, less = fact.extent.partition("-")
            arg.extent = Extent("const" if name.isdigit() else "param", name, int(name) if name.isdigit() else 0,
                                int(less or 0))
        if fact.by:
            self._direct_by(arg, fact, target)
            return
        if target.kind in (m.VOID,) or (target.is_char and target.kind == m.INT):
            if not arg.extent:
                raise _Cannot(f'is {type.spelling} of unknown extent; write "{role or _likely(target)} '
                              f'{arg.param.name}[n]"' + ("" if target.kind != m.VOID else
                              f', or "device {arg.param.name}" for a device address'))
            arg.pointer = True
            is_text = target.is_char and role == "out"
            arg.wire = Wire("text" if is_text else "bytes", "Text" if is_text else "Data", target.bare)
            return
        arg.pointer = True
        if not role:
            arg.role = self._infer_role(arg, target, device)
        arg.wire = self._wire(target, device)
        if arg.role == "creates" and not arg.wire.handle:
            raise _Cannot(f"is {type.spelling}; only a handle can be created")
        if arg.role == "creates" and arg.extent:
            raise _Cannot("creates one handle; arrays of new handles are not known here")
        if arg.role == "destroys":
            raise _Cannot(f"is {type.spelling}; only a handle passed by value can be destroyed")
        if arg.wire.handle and arg.role == "inout":
            raise _Cannot("is a handle that goes both ways; write a custom body")
        if arg.wire.integer_handle and arg.role == "out":
            raise _Cannot("hands out an integer handle; only `creates` can")

    def _direct_value(self, arg: Arg, type: m.Type, device: bool) -> None:
        if arg.role not in ("", "in", "destroys"):
            raise _Cannot(f"is {type.spelling}, passed by value; it can't be {arg.role}")
        if arg.nullable:
            raise _Cannot(f"is {type.spelling}, passed by value; it can't be nullable")
        arg.wire = self._wire(type, device)
        if arg.wire.struct is not None and arg.wire.struct.external:
            raise _Cannot("is a union by value")
        if arg.role == "destroys" and not arg.wire.handle:
            raise _Cannot(f"is {type.spelling}; only a handle can be destroyed")
        arg.role = arg.role or "in"

    def _direct_by(self, arg: Arg, fact: Fact, target: m.Type) -> None:
        """`in value by attr`: another parameter says what this one points to."""
        arg.pointer = True
        if target.kind == m.VOID:
            arg.extent = Extent("sizes", fact.by)  # completed by _check_extent
            arg.wire = Wire("bytes", "Data", target.bare)
        elif target.kind == m.UNION:
            arg.by = cxx_name(fact.by)
            arg.wire = self._wire(target, False)
        else:
            raise _Cannot(f"is {arg.param.type.spelling}; `by` is for void * and unions")

    def _infer_role(self, arg: Arg, target: m.Type, device: bool) -> str:
        name, spelling = arg.param.name, arg.param.type.spelling
        if target.const:
            raise _Cannot(f'is {spelling}; write "in {name}" for one, "in {name}[n]" for an array')
        if target.opaque_name or _integer_handle(target):
            raise _Cannot(f'is {spelling}; write "creates {name}" if the call makes the object, "out {name}" if it '
                          f'exists already, "in {name}[n]" for an array')
        if target.kind in (m.INT, m.ENUM, m.FLOAT, m.BOOL):
            return "out"
        if target.is_pointer and device:
            return "out"
        if target.is_pointer:
            raise _Cannot(f'is {spelling}; write "device {name}" if it receives a device address')
        raise _Cannot(f'is {spelling}; write "in {name}", "out {name}" or "inout {name}"')

    def _check_extent(self, plan: Plan, arg: Arg) -> None:
        extent, entry = arg.extent, plan.entry
        if arg.by and plan.function.find(entry.of(arg.param.name)[arg.role].by) is None:
            raise entry.refuse(f"has no parameter '{entry.of(arg.param.name)[arg.role].by}'")
        if extent is None or extent.kind == "const":
            return
        count = next((a for a in plan.args if a.param.name == extent.name), None)
        if count is None:
            raise entry.refuse(f"has no parameter '{extent.name}', which should give the extent of '{arg.param.name}'")
        if extent.kind == "sizes":
            enums = [e for e in count.param.type.names if e in self._notes.sizes]
            if not enums:
                raise entry.refuse(f"no `sizes` line tells how large the values of {count.param.type.spelling} are")
            extent.sizes = self._notes.sizes[enums[0]]
            self._check_enumerators(extent.sizes.enum, list(extent.sizes.bytes), extent.sizes)
        elif count.role == "in" and count.wire is not None and count.wire.kind == "int" and not count.pointer:
            pass
        elif count.role == "inout" and count.wire.kind == "int" and arg.role == "out":
            extent.kind = "inout"
        else:
            raise entry.refuse(f"'{extent.name}' can't be the extent of '{arg.param.name}': it must be an integer "
                               "passed by value, or an `inout` pointer to one")
        extent.name = cxx_name(extent.name)

    def _check_class(self, plan: Plan) -> None:
        entry, back = plan.entry, [a.param.name for a in plan.args if a.comes_back]
        made = [a.param.name for a in plan.args if a.role in ("creates", "destroys")]
        if plan.wire_class == "async" and back:
            raise entry.refuse(f"is async, but '{back[0]}' comes back from the server; write sync")
        if plan.wire_class == "cached" and made:
            raise entry.refuse(f"is cached, but makes or ends '{made[0]}'")
        if plan.wire_class == "cached" and not back:
            raise entry.refuse("is cached, but brings nothing back")
        if plan.always and not back:
            raise entry.refuse("says `always`, but brings nothing back")
        for arg in plan.args:
            if arg.nullable and arg.role == "creates":
                raise entry.refuse(f"'{arg.param.name}' is created, so it can't be nullable")

    # --- Types --------------------------------------------------------------------------------------------------

    def _wire(self, type: m.Type, device: bool) -> Wire:
        handle = _integer_handle(type)
        if handle:
            return Wire("handle", "UInt64", type.bare, handle=handle, integer_handle=True)
        if type.kind == m.INT:
            return Wire("int", ("Int" if type.signed else "UInt") + str(type.bytes * 8), type.bare)
        if type.kind == m.BOOL:
            return Wire("bool", "Bool", "bool")
        if type.kind == m.FLOAT:
            return Wire("float", "Float" + str(type.bytes * 8), type.bare)
        if type.kind == m.ENUM:
            return Wire("enum", "Int32", type.bare)
        if type.opaque_name:
            if type.opaque_name not in HANDLES:
                raise _Cannot(f"is a {type.spelling}, a handle the wire has no type for (rpc/handle_id.h)")
            return Wire("handle", "UInt64", _handle_type(type), handle=HANDLES[type.opaque_name])
        if type.is_pointer:
            if not device:
                raise _Cannot(f"is a pointer ({type.spelling}) that no annotation explains")
            return Wire("device", "UInt64", _without_const(type.spelling).replace(" *", "*"))
        if type.kind in (m.STRUCT, m.UNION):
            return self._struct_wire(type)
        if type.kind == m.ARRAY:
            if type.target.kind == m.INT and type.target.is_char:
                return Wire("bytes", "Data", type.target.bare, count=type.count)
            element = self._wire(type.target, device)
            return Wire("list", f"List({element.capnp})", element.cxx, element=element, count=type.count)
        raise _Cannot(f"is {type.spelling}, which has no form on the wire")

    def _struct_wire(self, type: m.Type) -> Wire:
        plan = self._struct(type)
        return Wire("union" if plan.external else "struct", plan.schema, plan.cxx, struct=plan)

    def _struct(self, type: m.Type) -> StructPlan:
        record = type.record
        if record.name in self._structs:
            return self._structs[record.name]
        cxx = _without_const(type.bare).removeprefix("struct ").removeprefix("union ")
        plan = StructPlan(record, cxx, schema_type(record.name), self._api.name)
        aliases = {record.name, cxx, *type.names, record.name.removesuffix("_st").removesuffix("_struct")}
        if aliases & self._notes.opaque:
            plan.opaque = True
            plan.fields.append(FieldPlan("", "bytes", Wire("raw", "Data", cxx)))
        elif record.union:
            note = next((self._notes.unions[a] for a in aliases if a in self._notes.unions), None)
            if note is None:
                raise _Cannot(f"is the union {cxx}; a `union {cxx}: ...` line must say when which member holds")
            plan.switches.append(self._switch(plan, record, "", "which", note, aliases))
        else:
            self._fill(plan, record, "", aliases)
        self._structs[record.name] = plan
        return plan

    def _fill(self, plan: StructPlan, record: m.Record, prefix: str, aliases: set[str]) -> None:
        notes = [self._notes.structs[a] for a in aliases if a in self._notes.structs]
        ignored = {name for note in notes for name in note.ignored}
        device = {name for note in notes for name in note.device}
        for note in notes:
            for name in [*note.ignored, *note.device]:
                if record.find(name) is None:
                    raise note.refuse(f"has no field '{name}'")
        fields = [f for f in record.fields if f.name not in ignored]
        meaningful = [f for f in fields if not f.name.startswith(("reserved", "__reserved", "pad"))]
        for field in meaningful or fields:  # a struct of nothing but reserved bytes is opaque and crosses whole
            path = prefix + field.name
            try:
                if field.type.kind == m.UNION:
                    self._fill_union(plan, record, field, path, aliases)
                elif field.type.kind == m.STRUCT and "(" in field.type.record.name:
                    self._fill(plan, field.type.record, path + "." if field.name else prefix, set())
                else:
                    wire = self._wire(field.type, field.name in device)
                    if wire.is_stream:
                        raise _Cannot("is a stream inside a struct; write a custom body")
                    plan.fields.append(FieldPlan(path, schema_field(path), wire))
            except _Cannot as why:
                raise _Cannot(f"holds {plan.cxx}, whose field '{path}' {why}") from None

    def _fill_union(self, plan: StructPlan, owner: m.Record, field: m.Field, path: str, aliases: set[str]) -> None:
        note = next((self._notes.unions[f"{a}.{field.name}"] for a in aliases
                     if f"{a}.{field.name}" in self._notes.unions), None)
        if note is None:
            raise _Cannot(f"is a union; a `union {plan.cxx}.{field.name} by ...` line must say when which member holds")
        if owner.find(note.by) is None:
            raise note.refuse(f"{plan.cxx} has no field '{note.by}'")
        inner = {f"{a}.{field.name}" for a in aliases}
        plan.switches.append(self._switch(plan, field.type.record, path + "." if path else "", note.by, note, inner))

    def _switch(self, plan: StructPlan, record: m.Record, prefix: str, by: str, note, aliases: set[str]) -> Switch:
        holder = plan.record.find(by)
        by_type = _without_const(holder.type.bare) if holder else "int"
        switch = Switch(by, by_type, [])
        device = {n for a in aliases if a in self._notes.structs for n in self._notes.structs[a].device}
        by_member: dict[str, list[str]] = {}
        for enumerator, member in note.members.items():
            by_member.setdefault(member, []).append(enumerator)
        self._check_enumerators(note.name, list(note.members), note)
        for member, enumerators in by_member.items():
            field = record.find(member)
            if field is None:
                raise note.refuse(f"has no member '{member}'")
            path = prefix + member
            scratch = StructPlan(record, plan.cxx, plan.schema, plan.api)
            if field.type.kind == m.STRUCT and "(" in field.type.record.name:
                self._fill(scratch, field.type.record, path + ".", {f"{a}.{member}" for a in aliases})
            else:
                scratch.fields.append(FieldPlan(path, schema_field(path), self._wire(field.type, member in device)))
            switch.cases.append((enumerators, scratch.fields))
        return switch

    def _check_enumerators(self, enum: str, names: list[str], note) -> None:
        known = {v for values in self._api.enums.values() for v in values}
        for name in names:
            if name not in known:
                raise Refused(f"{note.path}:{note.line}: error: {enum}: there is no enumerator {name}")

def _likely(target: m.Type) -> str:
    return "in" if target.const else "out"


def _integer_handle(type: m.Type) -> str:
    return next((INTEGER_HANDLES[n] for n in type.names if n in INTEGER_HANDLES), "") if type.kind == m.INT else ""


def _without_const(spelling: str) -> str:
    return spelling.removeprefix("const ").strip()


def _handle_type(type: m.Type) -> str:
    """CUstream, also where the header writes `CUstream const` or cudaArray_const_t."""
    name = type.bare.removesuffix(" const")
    return name
