"""docs/coverage.md: what happens with every function of both libraries."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from codegen.emit.render import render
from codegen.plan import ApiPlan

_LIBRARY = {"driver": "libcuda.so.1", "runtime": "libcudart.so.N"}


def emit(apis: list[ApiPlan], source_folders: list[Path]) -> dict[str, str]:
    """`source_folders`: where hand-written bodies may be; a body that is not found there is said to be missing."""
    defined = _definitions(source_folders)
    libraries = []
    for api in apis:
        rows = [_row(name, plan.entry.family, *_of_plan(plan, defined)) for plan in api.plans for name in plan.variants]
        rows += [_row(name, "", "handwritten", "" if name in defined else "declared, no body")
                 for name in api.handwritten]
        rows += [_row(name, "", "undecided" if name in api.undecided else "unsupported",
                      "" if name in api.undecided else reason) for name, _, reason in api.unsupported]
        rows.sort(key=lambda row: row["name"])
        counts = Counter("declared, no body" if row["note"] == "declared, no body" else row["kind"] for row in rows)
        libraries.append({"name": _LIBRARY[api.api], "rows": rows, "total": len(rows),
                          "counts": sorted(counts.items(), key=lambda item: (-item[1], item[0]))})
    return {"docs/coverage.md": render("coverage.md.j2", libraries=libraries)}


def _row(name: str, family: str, kind: str, note: str) -> dict[str, str]:
    return {"name": name, "family": family, "kind": kind, "note": note}


def _of_plan(plan, defined: set[str]) -> tuple[str, str]:
    body = plan.target or plan
    note = f"as {plan.target.name}" if plan.target else ""
    if body.kind == "remoted":
        return body.wire_class, note
    if body.name not in defined:
        note = "declared, no body"
    return body.kind, note


def _definitions(folders: list[Path]) -> set[str]:
    """Names that look defined: `int cuMemAlloc_v2(...` at the start of a line."""
    found = set()
    for folder in folders:
        for path in sorted(folder.glob("*.cpp")):
            found.update(re.findall(r"^(?:[\w:]+[\s*&]+)+(\w+)\(", path.read_text(), re.MULTILINE))
    return found
