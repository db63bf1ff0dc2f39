"""Functions of the program that streams call: in the client, in the streams' order, and never in each other's way."""

import unittest

from support import BUILD, LINKAGES, EndToEndTest, farcall_runs


class HostFunctionsTest(EndToEndTest):
    def check(self, scenario: str) -> None:
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                program = BUILD.program(f"host_functions_{linkage}")
                local = farcall_runs.run_local(BUILD, [program, scenario])
                self.assertEqual(local.code, 0, local.stderr)
                self.assertTrue(local.stdout)
                remote = self.run_remote(program, scenario)
                self.assertEqual(farcall_runs.differences(local, remote), [], self.explain(remote))

    def test_a_function_sees_the_copies_before_it_and_none_after_it(self):
        self.check("order")

    def test_a_program_that_only_watches_a_flag_goes_on(self):
        self.check("flag")

    def test_each_stream_calls_in_its_own_order(self):
        self.check("streams")

    def test_a_function_holds_its_stream_alone(self):
        self.check("holds")

    def test_a_replayed_graph_calls_every_time(self):
        self.check("graph")

    def test_new_input_for_a_graph_that_is_in_its_function(self):
        self.check("graph_input")

    def test_cuda_calls_inside_are_not_permitted(self):
        self.check("forbidden")

    def test_copies_behind_a_function_do_not_fill_up_the_server(self):
        self.check("pile_up")

    def test_free_waits_for_the_function(self):
        self.check("free_behind")

    def test_a_fault_ends_it(self):
        self.check("after_a_fault")

    def test_functions_cost_no_round_trip(self):
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                run = self.run_remote(BUILD.program(f"host_functions_{linkage}"), "streams")
                self.assert_succeeds(run)
                # Two streams, one synchronization, and little else, for a hundred functions.
                self.assertLess(run.stats["round_trips"], 10)


if __name__ == "__main__":
    unittest.main()
