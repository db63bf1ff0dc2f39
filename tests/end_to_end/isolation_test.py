"""What happens to one client stays with that client."""

import os
import signal
import time
import unittest

from support import BUILD, LINKAGES, Client, EndToEndTest, wait_until


def lines_about(log: str, word: str) -> list[str]:
    return [line for line in log.splitlines() if word in line]


class TwoClientsTest(EndToEndTest):
    listen = ["tcp://127.0.0.1:0"]

    def test_two_clients_do_not_see_each_other(self):
        for linkage in LINKAGES:
            program = BUILD.program(f"neighbour_{linkage}")
            with Client(self.url, [program]) as one, Client(self.url, [program]) as other:
                self.assertEqual(one.ask("fill 1"), "fill: cudaSuccess")
                self.assertEqual(other.ask("fill 2"), "fill: cudaSuccess")
                self.assertEqual(one.ask("check 1"), "check: cudaSuccess, 0 wrong")
                self.assertEqual(other.ask("check 2"), "check: cudaSuccess, 0 wrong")
                self.assertEqual(len(self.server.workers()), 2)

    def test_an_address_of_one_client_is_not_the_others_memory(self):
        program = BUILD.program("neighbour_static")
        with Client(self.url, [program]) as one, Client(self.url, [program]) as other:
            one.ask("fill 1")
            other.ask("fill 2")
            address = one.ask("where").split()[1]
            # The number may mean something in the other process too, but never the first one's memory.
            other.ask(f"poke {address}")
            self.assertEqual(one.ask("check 1"), "check: cudaSuccess, 0 wrong")

    def test_a_trapping_kernel_ends_only_its_own_session(self):
        for linkage in LINKAGES:
            with Client(self.url, [BUILD.program("neighbour_static")]) as bystander:
                bystander.ask("fill 3")
                run = self.run_remote(BUILD.program(f"trap_{linkage}"))
                self.assert_succeeds(run)
                self.assertIn("synchronize: cudaErrorLaunchFailure", run.stdout.decode(), self.explain(run))
                self.assertEqual(bystander.ask("check 3"), "check: cudaSuccess, 0 wrong")
        self.assert_server_works()

    def test_an_illegal_address_ends_only_its_own_session(self):
        with Client(self.url, [BUILD.program("neighbour_static")]) as bystander:
            bystander.ask("fill 4")
            run = self.run_remote(BUILD.program("illegal_address_static"))
            self.assert_succeeds(run)
            self.assertEqual(bystander.ask("check 4"), "check: cudaSuccess, 0 wrong")


class KilledTest(EndToEndTest):
    def test_a_killed_client_leaves_nothing_behind(self):
        self.run_remote(BUILD.example("vector_add", "static"))
        self.assert_no_workers()
        descriptors = self.server.descriptors()
        for linkage in LINKAGES:
            with Client(self.url, [BUILD.program(f"hold_{linkage}")]) as client:
                self.assertEqual(client.read_line(), "holding")
                self.assertEqual(len(self.server.workers()), 1)
                client.process.send_signal(signal.SIGKILL)
                client.wait()
                self.assert_no_workers()
        same = wait_until(lambda: self.server.descriptors() == descriptors, 5)
        self.assertTrue(same, f"{descriptors} descriptors before, {self.server.descriptors()} after")
        self.assert_server_works()

    def test_a_client_killed_during_a_kernel_leaves_no_worker(self):
        with Client(self.url, [BUILD.program("spin_forever_static")]) as client:
            self.assertEqual(client.read_line(), "running")
            client.process.send_signal(signal.SIGKILL)
            client.wait()
            self.assert_no_workers(seconds_max=10)
        self.assert_server_works()

    def ends_of(self, worker: int) -> list[str]:
        """What the daemon has logged about the death of a worker."""
        lines = lines_about(self.server.log(), str(worker))
        return [line for line in lines if "kill" in line.lower() or "signal" in line.lower()]

    def test_a_killed_worker_gives_its_client_an_error_within_a_second(self):
        for linkage in LINKAGES:
            with Client(self.url, [BUILD.program("neighbour_static")]) as bystander:
                bystander.ask("fill 5")
                bystanders = self.server.workers()
                with Client(self.url, [BUILD.program(f"spin_forever_{linkage}")]) as client:
                    self.assertEqual(client.read_line(), "running")
                    (victim,) = set(self.server.workers()) - set(bystanders)
                    killed = time.monotonic()
                    os.kill(victim, signal.SIGKILL)
                    line = client.read_line(seconds_max=5)
                    seconds = time.monotonic() - killed
                    self.assertTrue(line.startswith("synchronize: cudaError"), line)
                    self.assertLess(seconds, 1.0)
                    self.assertEqual(client.wait(), 0, "".join(client.errors))
                self.assertEqual(bystander.ask("check 5"), "check: cudaSuccess, 0 wrong")
                # The daemon hears of it by a signal of its own, maybe after the client.
                wait_until(lambda: self.ends_of(victim), 5)
                self.assertEqual(len(self.ends_of(victim)), 1, self.server.log())
        self.assert_server_works()

    def test_a_stopped_server_gives_its_clients_an_error(self):
        with Client(self.url, [BUILD.program("spin_forever_static")]) as client:
            self.assertEqual(client.read_line(), "running")
            for worker in self.server.workers():
                os.kill(worker, signal.SIGKILL)
            self.server.process.kill()
            self.assertTrue(client.read_line(seconds_max=5).startswith("synchronize: cudaError"))
            self.assertEqual(client.wait(), 0)


if __name__ == "__main__":
    unittest.main()
