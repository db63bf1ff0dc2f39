"""What calls of the driver API do remotely is what they do locally, refusals included."""

import unittest

from support import BUILD, EndToEndTest, farcall_runs


class DriverTest(EndToEndTest):
    PROGRAM = ""

    def check(self, scenario: str) -> None:
        program = BUILD.program(self.PROGRAM)
        local = farcall_runs.run_local(BUILD, [program, scenario])
        self.assertEqual(local.code, 0, local.stderr)
        self.assertTrue(local.stdout)
        remote = self.run_remote(program, scenario)
        self.assertEqual(farcall_runs.differences(local, remote), [], self.explain(remote))


class DriverCallsTest(DriverTest):
    PROGRAM = "driver_calls"

    def test_rows_of_arrays(self):
        self.check("array_rows")

    def test_copies_between_contexts(self):
        self.check("peers")

    def test_copies_in_batches(self):
        self.check("batches")

    def test_streams_wait_for_words(self):
        self.check("words")

    def test_occupancy(self):
        self.check("occupancy")

    def test_functions_of_modules_and_libraries(self):
        self.check("modules")

    def test_texture_references(self):
        self.check("texture_references")

    def test_tensor_maps(self):
        self.check("tensor_maps")

    def test_contexts_of_streams(self):
        self.check("contexts_of_streams")

    def test_which_threads_may_allocate_while_a_stream_captures(self):
        self.check("capture_modes")

    def test_physical_memory(self):
        self.check("physical_memory")


class DriverSettingsTest(DriverTest):
    PROGRAM = "driver_settings"

    def test_devices(self):
        self.check("devices")

    def test_contexts(self):
        self.check("contexts")

    def test_kernels(self):
        self.check("kernels")

    def test_streams(self):
        self.check("streams")

    def test_memsets_and_rows(self):
        self.check("memsets")

    def test_pools(self):
        self.check("pools")

    def test_nodes_of_graphs(self):
        self.check("graph_nodes")

    def test_attributes_of_nodes_and_objects_of_graphs(self):
        self.check("graph_extras")


class DriverLegacyTest(DriverTest):
    PROGRAM = "driver_legacy"

    def test_launches_whose_state_a_function_keeps(self):
        self.check("launch_state")

    def test_sizes_of_32_bits(self):
        self.check("small_sizes")

    def test_contexts_that_are_attached_to(self):
        self.check("contexts")

    def test_what_arrays_are_not(self):
        self.check("arrays")

    def test_managed_variables_and_memory_of_a_stream(self):
        self.check("managed")

    def test_tables_for_the_runtime(self):
        self.check("tables")


class DriverLinksTest(DriverTest):
    PROGRAM = "driver_links"

    def test_code_that_is_linked_at_run_time(self):
        self.check("link")

    def test_code_of_several_messages(self):
        self.check("large")

    def test_files_of_the_client(self):
        self.check("files")

    def test_logs(self):
        self.check("logs")

    def test_what_cannot_be_linked(self):
        self.check("wrong")

    def test_graphs_as_text(self):
        self.check("graph_as_text")


class DriverSharedTest(DriverTest):
    PROGRAM = "driver_shared"

    def test_the_log_of_failures(self):
        self.check("logs")

    def test_memory_as_a_descriptor(self):
        self.check("memory")

    def test_pools_as_descriptors(self):
        self.check("pools")

    def test_external_memory(self):
        self.check("external")

    def test_memory_of_another_process(self):
        self.check("processes")


if __name__ == "__main__":
    unittest.main()
