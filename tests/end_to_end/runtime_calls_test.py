"""What calls of the runtime API do remotely is what they do locally, refusals included."""

import unittest

from support import BUILD, LINKAGES, EndToEndTest, farcall_runs


class RuntimeTest(EndToEndTest):
    PROGRAM = ""

    def check(self, scenario: str) -> None:
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                program = BUILD.program(f"{self.PROGRAM}_{linkage}")
                local = farcall_runs.run_local(BUILD, [program, scenario])
                self.assertEqual(local.code, 0, local.stderr)
                self.assertTrue(local.stdout)
                remote = self.run_remote(program, scenario)
                self.assertEqual(farcall_runs.differences(local, remote), [], self.explain(remote))


class RuntimeCallsTest(RuntimeTest):
    PROGRAM = "runtime_calls"

    def test_devices(self):
        self.check("devices")

    def test_functions_and_occupancy(self):
        self.check("functions")

    def test_pinned_memory(self):
        self.check("pinned")

    def test_copies_of_all_kinds(self):
        self.check("copies")

    def test_streams_and_captures(self):
        self.check("streams")

    def test_pools(self):
        self.check("pools")

    def test_edges_and_nodes_of_graphs(self):
        self.check("graph_edges")

    def test_libraries(self):
        self.check("libraries")

    def test_errors_that_stick_and_errors_that_do_not(self):
        self.check("errors")

    def test_two_thousand_streams_and_sixty_four_threads(self):
        self.check("many")


class RuntimeSettingsTest(RuntimeTest):
    PROGRAM = "runtime_settings"

    def test_banks_of_shared_memory(self):
        self.check("banks")

    def test_entry_points_of_the_driver(self):
        self.check("entry_points")

    def test_arrays_textures_and_surfaces_tell_what_they_are(self):
        self.check("arrays")

    def test_host_nodes(self):
        self.check("host_nodes")

    def test_captures_into_graphs_that_exist(self):
        self.check("captures_to_graphs")

    def test_the_log_of_failures(self):
        self.check("logs")

    def test_pools_and_memory_as_descriptors(self):
        self.check("shared_memory")


if __name__ == "__main__":
    unittest.main()
