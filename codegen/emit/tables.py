"""server/: the tables of function pointers, the dispatch table, and the declarations of handlers."""

from __future__ import annotations

from codegen import model as m
from codegen.annotations import Internal
from codegen.emit.render import render

_LIBRARIES = {
    "driver": ("libcuda.so.1", "DriverTable", ["cuda.h", "cudaProfiler.h"]),
    "runtime": ("libcudart.so.N", "RuntimeTable", ["cuda_runtime_api.h", "cuda_profiler_api.h"]),
}


def emit_function_table(api: m.Api) -> dict[str, str]:
    """Without the per-thread forms: the worker is given streams by name."""
    library, struct, headers = _LIBRARIES[api.name]
    names = [f.name for f in api.functions.values() if not f.per_thread]
    values = dict(api=api.name, library=library, struct=struct, headers=headers, names=names)
    return {f"server/{api.name}_table.h": render("table.h.j2", **values),
            f"server/{api.name}_table.cpp": render("table.cpp.j2", **values)}


def emit_dispatch(numbers: dict[str, int], internal: list[Internal], plans: list) -> dict[str, str]:
    """`plans`: check.Plan of every remoted function of both APIs."""
    rows = {name: {"name": name, "run": "nullptr", "blocking": "false", "runtime": "false"} for name in numbers}
    for call in internal:
        rows[call.name].update(run=f"handlers::{call.name}", blocking=_bool("blocking" in call.words))
    for plan in plans:
        rows[plan.name].update(run=f"dispatch::{plan.name}", blocking=_bool(plan.blocking),
                               runtime=_bool(plan.api == "runtime"))
    return {
        "server/dispatch_table.cpp": render("dispatch_table.cpp.j2", rows=list(rows.values())),
        "server/dispatch.h": render("dispatch.h.j2", names=[plan.name for plan in plans]),
        "server/handlers.h": render("handlers.h.j2", internal=internal),
    }


def _bool(value: bool) -> str:
    return "true" if value else "false"
