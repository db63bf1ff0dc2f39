"""CUDA_VISIBLE_DEVICES of the program, and of the server."""

import os
import re
import subprocess
import unittest
from unittest import mock

from support import BUILD
import farcall_runs  # scripts/, which support puts on the path


class VisibleDevicesTest(unittest.TestCase):
    def server(self, visible: str | None = None) -> farcall_runs.Server:
        settings = {"FARCALL_SOFTGPU_DEVICES": "3"} | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})
        with mock.patch.dict(os.environ, settings):
            server = farcall_runs.Server(BUILD, ["tcp://127.0.0.1:0"])
            server.__enter__()
        self.addCleanup(server.__exit__)
        return server

    def farcall(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(BUILD.farcall), *arguments],
            env=farcall_runs.clean_environment() | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def buses(self, server: farcall_runs.Server | None, command: str = "devices", **environment: str) -> list[int]:
        """PCI buses of the devices in the order shown: 1, 2, 3 are softgpu's first, second, third."""
        where = ["--server", server.url] if server else ["--softgpu"]
        done = self.farcall(command, *where, **environment)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return [int(bus, 16) for bus in re.findall(r"0000:(\w\w):00\.0", done.stdout)]

    def test_a_program_chooses_and_orders_devices(self):
        server = self.server()
        self.assertEqual(self.buses(server), [1, 2, 3])
        uuid = self.farcall("smi", "-L", "--server", server.url).stdout.splitlines()[1].split("UUID: ")[1].rstrip(")")
        for visible, buses in (("2,0", [3, 1]), ("1", [2]), ("0,7,1", [1]), ("0,-1,2", [1]), (uuid, [2])):
            self.assertEqual(self.buses(server, CUDA_VISIBLE_DEVICES=visible), buses, visible)
            local = self.buses(None, CUDA_VISIBLE_DEVICES=visible, FARCALL_SOFTGPU_DEVICES="3")
            self.assertEqual(local, buses, visible)

    def test_nvml_shows_all_devices_whatever_the_program_chose(self):
        self.assertEqual(self.buses(self.server(), "smi", CUDA_VISIBLE_DEVICES="1"), [1, 2, 3])
        local = self.buses(None, "smi", CUDA_VISIBLE_DEVICES="1", FARCALL_SOFTGPU_DEVICES="3")
        self.assertEqual(local, [1, 2, 3])

    def test_no_device_is_an_error_that_says_why(self):
        server = self.server()
        for visible in ("", "9", "GPU-0"):
            done = self.farcall("devices", "--server", server.url, CUDA_VISIBLE_DEVICES=visible)
            self.assertEqual(done.returncode, 1)
            self.assertIn("CUDA_ERROR_NO_DEVICE", done.stderr)
            self.assertIn(f"CUDA_VISIBLE_DEVICES='{visible}' leaves none of the server's devices", done.stderr)
        self.assertEqual(self.buses(server), [1, 2, 3])

    def test_a_server_shows_what_it_was_started_for(self):
        server = self.server(visible="2,1")
        self.assertEqual(self.buses(server), [3, 2])
        self.assertEqual(self.buses(server, CUDA_VISIBLE_DEVICES="1"), [2])
        self.assertEqual(self.buses(server, "smi"), [2, 3])
        # Not the third device of the machine, and no other order, in which the server's numbers would mean others.
        done = self.farcall("devices", "--server", server.url, CUDA_VISIBLE_DEVICES="2")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.buses(server, CUDA_DEVICE_ORDER="PCI_BUS_ID"), [3, 2])

    def test_a_program_runs_on_the_device_it_chose(self):
        server = self.server()
        done = self.farcall(
            "run", "--server", server.url, "--", str(BUILD.example("vector_add", "static")), CUDA_VISIBLE_DEVICES="2"
        )
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
