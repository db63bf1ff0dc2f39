"""Copies with host memory inside captured graphs: a replayed graph does with it what it does locally."""

import unittest

from support import BUILD, LINKAGES, EndToEndTest, farcall_runs


class GraphCopiesTest(EndToEndTest):
    def check(self, *arguments: str) -> None:
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                program = BUILD.program(f"graph_copies_{linkage}")
                local = farcall_runs.run_local(BUILD, [program, *arguments])
                self.assertEqual(local.code, 0, local.stderr)
                self.assertTrue(local.stdout)
                remote = self.run_remote(program, *arguments)
                self.assertEqual(farcall_runs.differences(local, remote), [], self.explain(remote))

    def test_every_replay_reads_and_writes_host_memory_anew(self):
        self.check("changed_input", "1000")

    def test_copies_larger_than_a_payload_are_one_node_and_whole(self):
        self.check("changed_input", "1500001")

    def test_a_replay_reads_what_the_one_before_has_written(self):
        self.check("in_place")

    def test_clones_child_graphs_and_destroyed_graphs(self):
        self.check("clones_and_children")

    def test_an_updated_graph_uses_the_new_host_memory(self):
        self.check("update")

    def test_buffers_of_graphs_that_are_gone_are_used_again(self):
        self.check("many_captures", "80")

    def test_another_stream_copies_while_one_captures(self):
        self.check("beside_a_capture")

    def test_what_cannot_be_followed_is_refused_and_nothing_else_is(self):
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                run = self.run_remote(BUILD.program(f"graph_copies_{linkage}"), "refused")
                self.assert_succeeds(run)
                lines = run.stdout.decode().splitlines()
                for what, line in zip(("reads back", "switched off", "launched into a capture", "rows"), lines):
                    self.assertEqual(line, f"{what}: cudaErrorNotSupported")
                self.assertTrue(lines[-1].startswith("still good: "))
                self.assertIn("cuGraphNodeSetEnabled is not supported", run.stderr)

    def test_replays_do_not_wait_for_the_server(self):
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                few, many = (
                    self.run_remote(BUILD.program(f"graph_copies_{linkage}"), "launches", count).stats["round_trips"]
                    for count in (1, 500)
                )
                self.assertEqual(few, many)


if __name__ == "__main__":
    unittest.main()
