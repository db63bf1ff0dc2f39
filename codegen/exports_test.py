"""The built stub libraries export what the originals export: every name, with its version, and nothing else.

Run by ctest, which says where things are: FARCALL_STUB_DIR, FARCALL_CUDART, FARCALL_CUDA_HOME, FARCALL_CUDA_INCLUDE.
"""

from __future__ import annotations

import os
import re
import subprocess
import unittest
from pathlib import Path

from codegen import headers


def exports(library: Path) -> set[str]:
    """Functions, as readelf shows them: "cudaFree@@libcudart.so.13"."""
    shown = subprocess.run(["readelf", "--dyn-syms", "--wide", library], capture_output=True, text=True, check=True)
    return {match[1] for match in re.finditer(r" FUNC +(?:GLOBAL|WEAK) +DEFAULT +\d+ (\S+)", shown.stdout)}


class Exports(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.stubs = Path(os.environ["FARCALL_STUB_DIR"])

    def test_libcudart_has_every_symbol_of_the_original_with_its_version(self):
        original = Path(os.environ["FARCALL_CUDART"])
        self.assertEqual(exports(self.stubs / original.name), exports(original))

    def test_libcuda_has_what_the_headers_declare(self):
        api = headers.read_driver(Path(os.environ["FARCALL_CUDA_INCLUDE"]))
        self.assertEqual(exports(self.stubs / "libcuda.so.1"), set(api.functions))

    def test_libcuda_has_every_symbol_of_the_toolkits_stub(self):
        original = Path(os.environ["FARCALL_CUDA_HOME"]) / "lib64" / "stubs" / "libcuda.so"
        if not original.exists():
            self.skipTest(f"this toolkit has no {original}")
        self.assertEqual(exports(self.stubs / "libcuda.so.1"), exports(original))


if __name__ == "__main__":
    unittest.main()
