#!/usr/bin/env python3
"""Every CUDA function that the coverage calls implemented must be named by a test that says what it means.

    scripts/named_by_tests.py --coverage build/gen/docs/coverage.md [--list]

Tests that are generated for every call (round trips, damaged messages) don't count: they know a function's signature,
not its meaning. What counts: the programs and examples that run locally and remotely, and softgpu's own tests. Per-thread
forms (_ptsz, _ptds) and versions (_v2) are named by the plain name, as cuda.h renames them. Exits with 1 and the names
if there are functions that no test names and scripts/not_named_yet.txt doesn't list, or listed ones that are named by now,
or functions whose hand-written body is missing.
"""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCES = ["tests/programs/*", "tests/softgpu/*.cu", "tests/softgpu/libraries/*", "tests/end_to_end/*.py", "tests/server/*.cpp",
           "examples/*", "softgpu/driver/*_test.cpp", "client/*_test.cpp"]
NOT_YET = ROOT / "scripts/not_named_yet.txt"
DISPLAY = "a server has no display"
NO_BODY = "declared, no body"
NOT_IMPLEMENTED = {"unsupported", "undecided"}


def plain(name: str) -> str:
    return re.sub(r"_v\d+$", "", re.sub(r"_pt[ds][sz]$", "", name))


def read_coverage(path: pathlib.Path) -> dict[str, dict[str, str]]:
    """Library -> function -> "" if it is implemented, else why it isn't; functions of a display are left out."""
    libraries: dict[str, dict[str, str]] = {}
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            functions = libraries.setdefault(line.split()[1].rstrip(":"), {})
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        # What nvcc's code calls (__cudaRegisterFunction) is in every program.
        if len(cells) != 4 or not re.fullmatch(r"cu\w+", cells[0]) or cells[3] == DISPLAY:
            continue
        missing = cells[1] in NOT_IMPLEMENTED or cells[3] == NO_BODY
        functions[cells[0]] = (cells[1] if cells[1] in NOT_IMPLEMENTED else cells[3]) if missing else ""
    return libraries


def words_of_tests() -> set[str]:
    words: set[str] = set()
    for pattern in SOURCES:
        for path in ROOT.glob(pattern):
            if path.is_file():
                words.update(re.findall(r"\bcu[A-Z_a-z]\w*", path.read_text(errors="replace")))
    return {plain(word) for word in words}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coverage", type=pathlib.Path, required=True)
    parser.add_argument("--list", action="store_true", help="print what no test names, without comparing")
    arguments = parser.parse_args()
    words = words_of_tests()
    unnamed: set[str] = set()
    libraries = read_coverage(arguments.coverage)
    for library, functions in libraries.items():
        implemented = [name for name, why in functions.items() if not why]
        mine = {plain(name) for name in implemented if plain(name) not in words}
        both = sum(plain(name) in words for name in implemented)
        undecided = sum(why == "undecided" for why in functions.values())
        print(f"{library}: {len(functions)} functions without a display's, {undecided} undecided, {len(implemented)} implemented "
              f"({100 * len(implemented) / len(functions):.1f} %), {both} of them named by a test "
              f"({100 * both / len(functions):.1f} % of all)")
        unnamed |= mine
    if arguments.list:
        print("\n".join(sorted(unnamed)))
        return 0
    # A weak stand-in takes the place of a body that is not there, so the linker never misses one that got lost.
    bodiless = sorted(name for functions in libraries.values() for name, why in functions.items() if why == NO_BODY)
    for name in bodiless:
        print(f"{name} is annotated as implemented, but nobody defines it", file=sys.stderr)
    known = set(NOT_YET.read_text().split()) if NOT_YET.exists() else set()
    for name in sorted(unnamed - known):
        print(f"{name} is implemented, but no test names it", file=sys.stderr)
    for name in sorted(known - unnamed):
        print(f"{name} is named by a test: take it out of {NOT_YET.name}", file=sys.stderr)
    return 1 if unnamed != known or bodiless else 0


if __name__ == "__main__":
    sys.exit(main())
