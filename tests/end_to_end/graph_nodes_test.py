"""Graphs whose nodes the program adds and changes itself compute remotely what they compute locally."""

import unittest

from support import BUILD, LINKAGES, EndToEndTest, farcall_runs


class GraphNodesTest(EndToEndTest):
    def check(self, scenario: str) -> None:
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                program = BUILD.program(f"graph_nodes_{linkage}")
                local = farcall_runs.run_local(BUILD, [program, scenario])
                self.assertEqual(local.code, 0, local.stderr)
                self.assertTrue(local.stdout)
                remote = self.run_remote(program, scenario)
                self.assertEqual(farcall_runs.differences(local, remote), [], self.explain(remote))

    def test_kernel_nodes_with_dependencies_and_new_parameters(self):
        self.check("kernels")

    def test_a_captured_kernel_is_asked_for_and_changed(self):
        self.check("change_a_captured_kernel")

    def test_host_nodes(self):
        self.check("host_nodes")

    def test_what_does_not_fit_is_refused_and_adds_nothing(self):
        self.check("errors")


if __name__ == "__main__":
    unittest.main()
