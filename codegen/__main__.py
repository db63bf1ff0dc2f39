"""python3 -m codegen: reads the CUDA headers and the annotations, writes build/gen.

Each step is one file: headers.py -> model, annotations.py -> facts, check.py joins the two and refuses what it cannot
prove, opcodes.py numbers the calls, emit/ writes. `--list-outputs` needs neither headers nor libclang: CMake asks it
while configuring.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from codegen import annotations, headers, opcodes
from codegen.emit import opcodes as emit_opcodes
from codegen.emit import tables
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

    outputs = {}
    outputs |= emit_opcodes.emit(numbers)
    outputs |= tables.emit_function_table(driver) | tables.emit_function_table(runtime)
    outputs |= tables.emit_dispatch(numbers, internal, [])
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


def compare_opcodes(options) -> int:
    opcodes.compare(options.old, HERE / "opcodes.lock")
    return 0


def list_outputs(options) -> int:
    print("\n".join([
        "rpc/opcodes.h", "server/driver_table.h", "server/driver_table.cpp", "server/runtime_table.h",
        "server/runtime_table.cpp", "server/dispatch_table.cpp", "server/dispatch.h", "server/handlers.h"]))
    return 0


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
