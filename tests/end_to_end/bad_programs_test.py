"""Programs and device code that are broken: an error and a reason, never a crash of the program, a worker or a server."""

import os
import pathlib
import struct
import tempfile
import unittest

from support import BUILD, LINKAGES, EndToEndTest
import farcall_runs  # scripts/, which support puts on the path


def ptx_payloads(program: bytes, container: int) -> list[int]:
    """Where the PTX of a container begins: softgpu takes that and leaves the cubin beside it alone."""
    (size,) = struct.unpack_from("<Q", program, container + 8)
    found = []
    at, end = container + 16, container + 16 + size
    while at < end:
        kind, _, header_bytes, payload_bytes = struct.unpack_from("<HHIQ", program, at)
        if kind == 1:
            found.append(at + header_bytes)
        at += header_bytes + payload_bytes
    return found


class BadDeviceCodeTest(EndToEndTest):
    def test_bad_ptx_is_refused_with_line_and_construct(self):
        local = farcall_runs.run_local(BUILD, [BUILD.program("bad_ptx")])
        remote = self.run_remote(BUILD.program("bad_ptx"))
        for run in (local, remote):
            self.assert_succeeds(run)
            broken = next(line for line in run.stderr.splitlines() if line.startswith("broken: log:"))
            self.assertIn("7", broken, "the line of the mistake")
            unsupported = next(line for line in run.stderr.splitlines() if line.startswith("unsupported: log:"))
            self.assertIn("wgmma", unsupported)
        self.assertEqual(farcall_runs.differences(local, remote), [])

    def test_damaged_fat_binaries_are_refused(self):
        program, fatbin = BUILD.program("corrupt_fatbin"), BUILD.program("touch.fatbin")
        local = farcall_runs.run_local(BUILD, [program, fatbin])
        self.assert_succeeds(local)
        remote = self.run_remote(program, fatbin)
        self.assert_succeeds(remote)
        self.assertEqual(farcall_runs.differences(local, remote), [])
        self.assert_server_works()

    def test_a_program_whose_embedded_code_is_damaged_gets_an_error(self):
        for linkage in LINKAGES:
            original = BUILD.example("vector_add", linkage).read_bytes()
            # Every container of device code in the program: magic, version 1, 16 bytes of header.
            magic = b"\x50\xed\x55\xba\x01\x00\x10\x00"
            places = [at for at in range(0, len(original), 8) if original.startswith(magic, at)]
            self.assertTrue(places)
            headers = [at + 16 for at in places]
            payloads = [payload for at in places for payload in ptx_payloads(original, at)]
            self.assertTrue(payloads)
            for name, where, damage in (("header", headers, b"\xff" * 24), ("payload", payloads, b"\xa5" * 512)):
                damaged = bytearray(original)
                for at in where:
                    damaged[at : at + len(damage)] = damage
                with self.subTest(linkage=linkage, damage=name), tempfile.TemporaryDirectory() as folder:
                    program = pathlib.Path(folder, "damaged")
                    program.write_bytes(damaged)
                    os.chmod(program, 0o755)
                    run = self.run_remote(program)
                    self.assertEqual(run.code, 1, self.explain(run))
                    self.assertIn("cudaError", run.stderr)
        self.assert_server_works()


class ForkTest(EndToEndTest):
    def test_a_forked_child_gets_errors_and_its_parent_goes_on(self):
        for linkage in LINKAGES:
            run = self.run_remote(BUILD.program(f"fork_child_{linkage}"))
            self.assert_succeeds(run)


if __name__ == "__main__":
    unittest.main()
