"""How often a program waits for the server: exact counts, the same on every machine."""

import unittest

from support import BUILD, LINKAGES, EndToEndTest


class RoundTripsTest(EndToEndTest):
    def round_trips(self, program: str, linkage: str, count: int) -> int:
        run = self.run_remote(BUILD.program(f"{program}_{linkage}"), count)
        self.assert_succeeds(run)
        self.assertIsInstance(run.stats["round_trips"], int)
        return run.stats["round_trips"]

    def check(self, program: str, count: int, most: int) -> None:
        for linkage in LINKAGES:
            with self.subTest(linkage=linkage):
                start_up = self.round_trips(program, linkage, 0)
                whole = self.round_trips(program, linkage, count)
                self.assertLessEqual(whole - start_up, most, f"{whole} in all, {start_up} of them at start-up")

    def test_10000_launches_and_a_synchronize_cost_at_most_2(self):
        self.check("launches_10000", 10000, 2)

    def test_1000_copies_and_launches_and_a_copy_back_cost_at_most_3(self):
        self.check("copy_launch_1000", 1000, 3)

    def test_the_count_does_not_depend_on_the_number_of_launches(self):
        for linkage in LINKAGES:
            few = self.round_trips("launches_10000", linkage, 10)
            many = self.round_trips("launches_10000", linkage, 3000)
            self.assertEqual(few, many)


if __name__ == "__main__":
    unittest.main()
