"""Managed and mapped memory: the program and its kernels see in it what they see locally."""

import unittest

from support import BUILD, LINKAGES, EndToEndTest, farcall_runs


class SharedMemoryTest(EndToEndTest):
    def check(self, *arguments: str) -> None:
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                program = BUILD.program(f"shared_memory_{linkage}")
                local = farcall_runs.run_local(BUILD, [program, *arguments])
                self.assertEqual(local.code, 0, local.stderr)
                self.assertTrue(local.stdout)
                remote = self.run_remote(program, *arguments)
                self.assertEqual(farcall_runs.differences(local, remote), [], self.explain(remote))

    def test_managed_memory_of_a_few_words(self):
        self.check("managed", "100")

    def test_managed_memory_of_several_pages(self):
        self.check("managed", "30001")

    def test_managed_memory_that_is_fetched_in_blocks(self):
        self.check("managed", "3000001")

    def test_mapped_memory(self):
        self.check("mapped", "100")
        self.check("mapped", "700001")

    def test_pinned_memory_that_a_kernel_turns_out_to_use(self):
        self.check("pinned", "100")
        self.check("pinned", "700001")

    def test_registered_memory(self):
        # It lies wherever the heap does, where this run's worker may have something else; then that is said.
        for linkage in LINKAGES:
            for count in ("100", "300001"):
                with self.subTest(linkage=linkage, count=count):
                    program = BUILD.program(f"shared_memory_{linkage}")
                    local = farcall_runs.run_local(BUILD, [program, "registered", count])
                    self.assertEqual(local.code, 0, local.stderr)
                    for _ in range(10):
                        remote = self.run_remote(program, "registered", count)
                        if "the server has something else there" not in remote.stderr:
                            break
                    self.assertEqual(farcall_runs.differences(local, remote), [], self.explain(remote))

    def test_pointers_tell_what_they_are(self):
        self.check("kinds")

    def test_advice_and_prefetches(self):
        self.check("advice")

    def test_many_small_allocations_with_pointers_in_them(self):
        self.check("lists", "700")

    def test_threads_that_fault_at_once(self):
        self.check("threads", "20000")

    def test_a_host_function_of_a_stream(self):
        self.check("host_function")

    def test_graphs(self):
        self.check("graph")

    def test_program_and_kernel_write_to_the_same_page(self):
        self.check("halves")

    def test_memory_is_freed_when_no_kernel_uses_it(self):
        self.check("free_and_again")

    def test_the_programs_own_fault_handler(self):
        self.check("own_handler_before")
        self.check("own_handler_after")

    def test_managed_variables(self):
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                program = BUILD.program(f"managed_variables_{linkage}")
                local = farcall_runs.run_local(BUILD, [program])
                self.assertEqual(local.code, 0, local.stderr)
                remote = self.run_remote(program)
                self.assertEqual(farcall_runs.differences(local, remote), [], self.explain(remote))

    def test_launches_with_managed_memory_do_not_wait(self):
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                few, many = (
                    self.run_remote(BUILD.program(f"shared_memory_{linkage}"), "rounds", count).stats["round_trips"]
                    for count in (1, 300)
                )
                self.assertEqual(few, many)


if __name__ == "__main__":
    unittest.main()
