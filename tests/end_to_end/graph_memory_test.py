"""Graphs whose nodes copy and allocate memory, nodes of any kind, conditional ones, and user objects: as locally."""

import unittest

from support import BUILD, LINKAGES, EndToEndTest, farcall_runs


class GraphMemoryTest(EndToEndTest):
    def check(self, scenario: str) -> None:
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                program = BUILD.program(f"graph_memory_{linkage}")
                local = farcall_runs.run_local(BUILD, [program, scenario])
                self.assertEqual(local.code, 0, local.stderr)
                self.assertTrue(local.stdout)
                remote = self.run_remote(program, scenario)
                self.assertEqual(farcall_runs.differences(local, remote), [], self.explain(remote))

    def test_copies_with_host_memory_that_is_read_and_written_at_each_launch(self):
        self.check("copies")

    def test_copies_in_rows_leave_what_is_between_them(self):
        self.check("boxes")

    def test_copies_with_variables(self):
        self.check("symbols")

    def test_allocations_of_a_graph(self):
        self.check("allocations")

    def test_nodes_of_any_kind(self):
        self.check("any_node")

    def test_conditional_nodes(self):
        self.check("conditionals")

    def test_user_objects_go_with_the_last_graph(self):
        self.check("user_objects")


if __name__ == "__main__":
    unittest.main()
