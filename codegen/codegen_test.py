"""Tests of the generator: what it writes for a toy API, and what it refuses.

    python3 -m unittest codegen.codegen_test            run
    UPDATE_GOLDEN=1 python3 -m unittest ...             accept what it writes now; read the diff before committing
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from codegen import annotations, check, headers, names, opcodes
from codegen.emit import client, coverage, schema, server, structs
from codegen.errors import Refused

DATA = Path(__file__).parent / "testdata"
GOLDEN = DATA / "golden"


def toy_api():
    return headers.read_header(DATA / "toy.h", "driver", "toy")


class Golden(unittest.TestCase):
    """The whole output for toy.h and toy.ann, so that a change of the generator shows as a diff of C++."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.plan = check.plan_api(toy_api(), annotations.read(DATA / "toy.ann"))
        cls.outputs = schema.emit(cls.plan) | structs.emit(cls.plan) | client.emit(cls.plan, None) | \
            server.emit(cls.plan) | coverage.emit([cls.plan], [])

    def test_outputs_are_the_golden_ones(self):
        if os.environ.get("UPDATE_GOLDEN"):
            for old in GOLDEN.glob("*"):
                old.unlink()
            for name, text in self.outputs.items():
                (GOLDEN / name.replace("/", "__")).write_text(text)
        self.assertEqual(sorted(p.name for p in GOLDEN.glob("*")),
                         sorted(n.replace("/", "__") for n in self.outputs))
        for name, text in self.outputs.items():
            with self.subTest(name):
                self.assertEqual((GOLDEN / name.replace("/", "__")).read_text(), text)

    def test_every_export_is_written_exactly_once(self):
        text = "".join(t for n, t in self.outputs.items() if n.startswith("client/") and n.endswith(".cpp"))
        for name in toy_api().exports:
            with self.subTest(name):
                self.assertEqual(len(re.findall(rf'^extern "C" .* {name}\(', text, re.MULTILINE)), 1)

    def test_a_per_thread_form_without_stream_says_not_supported(self):
        self.assertIn("toySync_ptsz", [name for name, _, _ in self.plan.unsupported])

    def test_what_nobody_annotated_is_undecided(self):
        self.assertEqual(self.plan.undecided, ["toyCallback", "toyLink", "toyNothingYet"])


class Refusals(unittest.TestCase):
    """testdata/bad/*.ann: each says in its first line which line is refused and how."""

    def test_each_bad_annotation_is_refused_with_its_line(self):
        files = sorted((DATA / "bad").glob("*.ann"))
        self.assertGreater(len(files), 30)
        api = toy_api()
        for path in files:
            first = path.read_text().splitlines()[0]
            expected = f"{path}:" + first.removeprefix("# error: ").replace(": ", ": error: ", 1)
            with self.subTest(path.name):
                with self.assertRaises(Refused) as caught:
                    check.plan_api(api, annotations.read(path))
                self.assertEqual(str(caught.exception), expected)


class Names(unittest.TestCase):
    def test_two_apis_may_not_have_one_name_in_the_schema(self):
        notes = annotations.read(DATA / "toy.ann")
        plan = check.plan_api(toy_api(), notes)
        with self.assertRaises(Refused) as caught:
            check.check_schema_names([plan, check.plan_api(toy_api(), notes)])
        self.assertIn("in the schema", str(caught.exception))

    def test_structs_of_the_driver_and_of_the_runtime_differ(self):
        self.assertNotEqual(names.schema_type("CUDA_TEXTURE_DESC_st"), names.schema_type("cudaTextureDesc"))


class Opcodes(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.lock = Path(self.folder.name) / "opcodes.lock"

    def tearDown(self):
        self.folder.cleanup()

    def refused(self, text):
        self.lock.write_text(text)
        with self.assertRaises(Refused) as caught:
            opcodes.read(self.lock)
        return str(caught.exception).removeprefix(f"{self.lock}")

    def test_append_gives_the_next_numbers_and_keeps_the_old_ones(self):
        self.assertEqual(opcodes.append(self.lock, ["b", "a"]), ["b", "a"])
        self.assertEqual(opcodes.append(self.lock, ["a", "c", "b"]), ["c"])
        self.assertEqual(opcodes.read(self.lock), {"b": 16, "a": 17, "c": 18})

    def test_append_changes_nothing_when_nothing_is_new(self):
        opcodes.append(self.lock, ["a"])
        before = self.lock.read_text()
        self.assertEqual(opcodes.append(self.lock, ["a"]), [])
        self.assertEqual(self.lock.read_text(), before)

    def test_a_build_with_a_new_function_says_which_command_to_run(self):
        opcodes.append(self.lock, ["a"])
        with self.assertRaises(Refused) as caught:
            opcodes.check(self.lock, ["a", "cuNew"])
        self.assertIn("no opcode for cuNew; run `python3 -m codegen append-opcodes`", str(caught.exception))

    def test_a_function_that_cuda_dropped_keeps_its_number(self):
        opcodes.append(self.lock, ["gone", "a"])
        self.assertEqual(opcodes.check(self.lock, ["a"]), {"gone": 16, "a": 17})

    def test_renumbering_is_refused(self):
        self.assertIn(":2: error: b = 18, but 17 comes next", self.refused("a = 16\nb = 18\n"))

    def test_removal_is_refused(self):
        self.assertIn(":1: error: b = 17, but 16 comes next", self.refused("b = 17\n"))

    def test_a_name_has_one_number(self):
        self.assertIn(":2: error: a is here twice", self.refused("a = 16\na = 17\n"))

    def test_an_unreadable_line_is_refused(self):
        self.assertIn(":1: error: cannot read 'a: 16'", self.refused("a: 16\n"))

    def test_compare_finds_a_changed_number_between_two_versions(self):
        old = Path(self.folder.name) / "old.lock"
        opcodes.append(old, ["a", "b"])
        opcodes.append(self.lock, ["b", "a"])
        with self.assertRaises(Refused) as caught:
            opcodes.compare(old, self.lock)
        self.assertIn("a was 16 and is 17; opcodes are for ever", str(caught.exception))

    def test_no_opcode_has_changed_since_any_commit(self):
        lock = Path(opcodes.__file__).parent / "opcodes.lock"
        log = self.git("log", "--format=%H", "--", lock.name)
        if not log:
            self.skipTest("no history here: not a git checkout")
        for commit in log.split():
            with self.subTest(commit):
                old = Path(self.folder.name) / "old.lock"
                old.write_text(self.git("show", f"{commit}:./{lock.name}"))
                opcodes.compare(old, lock)

    @staticmethod
    def git(*arguments):
        """Empty where there is no git or no history."""
        try:
            return subprocess.run(["git", *arguments], cwd=Path(opcodes.__file__).parent, text=True,
                                  capture_output=True, check=False).stdout
        except FileNotFoundError:
            return ""


if __name__ == "__main__":
    unittest.main()
