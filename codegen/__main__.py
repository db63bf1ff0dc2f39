"""python3 -m codegen: reads the CUDA headers and the annotations, writes build/gen.

Each step is one file: headers.py -> model, annotations.py -> facts, check.py joins the two and refuses what it cannot
prove, opcodes.py numbers the calls, emit/ writes. `--list-outputs` needs neither headers nor libclang: CMake asks it
while configuring.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from codegen import annotations, check, headers, opcodes
from codegen.emit import client, coverage, schema, server, structs, tables, tests
from codegen.emit import opcodes as emit_opcodes
from codegen.errors import Refused

HERE = Path(__file__).parent


def main() -> int:
    options = _arguments()
    try:
        return options.run(options)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1


def generate(options) -> int:
    driver = headers.read_driver(options.cuda_include)
    runtime = headers.read_runtime(options.cuda_include, options.cudart)
    internal = annotations.read_internal(HERE / "internal.ann")
    numbers = opcodes.check(HERE / "opcodes.lock", _call_names(driver, runtime, internal))

    plans = [check.plan_api(driver, annotations.read(HERE / "cuda_driver.ann")),
             check.plan_api(runtime, annotations.read(HERE / "cuda_runtime.ann"))]

    check.check_schema_names(plans)

    outputs = emit_opcodes.emit(numbers)
    outputs |= tables.emit_function_table(driver) | tables.emit_function_table(runtime)
    outputs |= tables.emit_dispatch(numbers, internal, plans[0].remoted + plans[1].remoted)
    for api, library in zip(plans, (None, options.cudart)):
        outputs |= schema.emit(api) | structs.emit(api) | client.emit(api, library) | server.emit(api) | \
            tests.emit(api)
    outputs |= tests.emit_handlers(internal)
    missing = set(_outputs()) ^ set(outputs)
    if missing:
        raise Refused(f"codegen: error: list-outputs and generate disagree about {', '.join(sorted(missing))}")
    _write(options.out, outputs)
    return 0


def append_opcodes(options) -> int:
    driver = headers.read_driver(options.cuda_include)
    runtime = headers.read_runtime(options.cuda_include, options.cudart)
    internal = annotations.read_internal(HERE / "internal.ann")
    added = opcodes.append(HERE / "opcodes.lock", _call_names(driver, runtime, internal))
    if added:
        print(f"codegen/opcodes.lock: {len(added)} new, commit the file: {', '.join(added)}")
    return 0


def write_coverage(options) -> int:
    plans = [check.plan_api(headers.read_driver(options.cuda_include), annotations.read(HERE / "cuda_driver.ann")),
             check.plan_api(headers.read_runtime(options.cuda_include, options.cudart),
                            annotations.read(HERE / "cuda_runtime.ann"))]
    _write(options.out, coverage.emit(plans, [HERE.parent / "client" / "driver", HERE.parent / "client" / "runtime"]))
    return 0


def compare_opcodes(options) -> int:
    opcodes.compare(options.old, HERE / "opcodes.lock")
    return 0


def list_outputs(options) -> int:
    print("\n".join(_outputs()))
    return 0


def _outputs() -> list[str]:
    """What generate writes, from the annotations alone."""
    names = ["rpc/opcodes.h", "server/dispatch_table.cpp", "server/dispatch.h", "server/handlers.h",
             "client/libcuda.map", "client/libcudart.map", "tests/handlers.cpp"]
    for api in ("driver", "runtime"):
        notes = annotations.read(HERE / f"cuda_{api}.ann")
        names += [f"server/{api}_table.h", f"server/{api}_table.cpp", f"rpc/schema/{api}_structs.capnp",
                  f"client/{api}_structs.h", f"server/{api}_structs.h", f"client/{api}_bodies.h",
                  f"tests/{api}_samples.h", f"client/{api}_missing_bodies.cpp", f"client/{api}_unsupported.cpp"]
        for family in notes.families:
            entries = [e for e in notes.entries.values() if e.family == family]
            if any(e.wire_class for e in entries):
                names += [f"rpc/schema/{api}_{family}.capnp", f"server/dispatch_{api}_{family}.cpp"]
            if any(e.wire_class and "custom" not in e.classes for e in entries):
                names.append(f"tests/round_trip_{api}_{family}.cpp")
            if any(e.classes not in (["unsupported"], ["handwritten"]) for e in entries):
                names.append(f"client/{api}_{family}.cpp")
    return names


def _call_names(driver, runtime, internal) -> list[str]:
    """Everything that has an opcode: Farcall's own calls, then every export; per-thread forms share the plain one's."""
    names = [call.name for call in internal]
    for api in (driver, runtime):
        names += [f.name for f in api.functions.values() if not f.per_thread]
        names += [n for n in api.undeclared if not n.endswith(("_ptsz", "_ptds"))]
    return names


def _write(out: Path, outputs: dict[str, str]) -> None:
    """Only what changed, so that a build redoes only what it must."""
    for name, text in outputs.items():
        path = out / name
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _arguments():
    parser = argparse.ArgumentParser(prog="codegen", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)

    def command(name, run, help_text, cuda=True):
        sub = commands.add_parser(name, help=help_text)
        sub.set_defaults(run=run)
        if cuda:
            sub.add_argument("--cuda-include", type=Path, default=Path("/usr/local/cuda/include"))
            sub.add_argument("--cudart", type=Path, default=None, help="the installed libcudart.so.N")
        return sub

    command("generate", generate, "write everything").add_argument("--out", type=Path, required=True)
    command("coverage", write_coverage, "write docs/coverage.md").add_argument("--out", type=Path, required=True)
    command("append-opcodes", append_opcodes, "give new functions their opcodes")
    command("list-outputs", list_outputs, "the files that generate writes", cuda=False)
    command("compare-opcodes", compare_opcodes, "refuse if opcodes.lock is not OLD with lines added",
            cuda=False).add_argument("old", type=Path)
    options = parser.parse_args()
    if getattr(options, "cudart", "") is None:
        found = sorted(options.cuda_include.parent.glob("lib*/libcudart.so.[0-9][0-9]"))
        if not found:
            parser.error(f"no libcudart.so.N beside {options.cuda_include}; name it with --cudart")
        options.cudart = found[-1]
    return options


if __name__ == "__main__":
    sys.exit(main())
