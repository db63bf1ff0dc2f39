"""Programs that check themselves, written for softgpu (tests/softgpu), are content remotely, too.

Those that are not yet, and why, are in the README ("Known gaps"): whoever closes one adds the program here.
"""

import unittest

from support import BUILD, LINKAGES, EndToEndTest


class SoftgpuProgramsTest(EndToEndTest):
    def check(self, name: str) -> None:
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                run = self.run_remote(BUILD.folder / "tests/softgpu" / f"softgpu_{name}_{linkage}")
                self.assert_succeeds(run)
                self.assertIn(b"PASSED: 0 failures", run.stdout)
                self.assertGreater(run.stats["round_trips"], 0, "was it remote at all?")

    def test_kernels_that_launch_kernels(self):
        self.check("children")

    def test_conditional_graphs(self):
        self.check("conditional_graphs")

    def test_devices(self):
        self.check("device")

    def test_driver_and_runtime_in_one_program(self):
        self.check("driver_interop")

    def test_graphs(self):
        self.check("graphs")

    def test_managed_memory_and_pools(self):
        self.check("managed_and_pools")

    def test_memory(self):
        self.check("memory")

    def test_printing(self):
        self.check("printing")

    def test_resets(self):
        self.check("reset")

    def test_separate_compilation(self):
        self.check("rdc_main")

    def test_streams(self):
        self.check("streams")

    def test_threads(self):
        self.check("threads")


if __name__ == "__main__":
    unittest.main()
