"""The `farcall` command against a server, a wrong one, and none."""

import json
import pathlib
import subprocess
import tempfile
import unittest

from support import BUILD, EndToEndTest
import farcall_runs  # scripts/, which support puts on the path


def farcall(*arguments, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(BUILD.farcall), *map(str, arguments)],
        env=farcall_runs.clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


class CommandTest(EndToEndTest):
    def test_devices_are_the_same_locally_and_remotely(self):
        remote = farcall("devices", "--server", self.url)
        local = farcall("devices", "--softgpu")
        self.assertEqual(remote.returncode, 0, remote.stderr)
        self.assertEqual(remote.stdout.splitlines()[1:], local.stdout.splitlines()[1:])
        self.assertIn(self.url, remote.stdout.splitlines()[0])

    def test_the_environment_names_the_server(self):
        self.assertEqual(farcall("devices", FARCALL_SERVER=self.url).returncode, 0)

    def test_the_config_file_names_the_server(self):
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder, "farcall/config.toml")
            config.parent.mkdir()
            config.write_text(f'server = "{self.url}"\n')
            self.assertEqual(farcall("devices", XDG_CONFIG_HOME=folder).returncode, 0)

    def test_doctor_finds_nothing_wrong(self):
        for linkage in ("shared", "static"):
            done = farcall("doctor", "--server", self.url, BUILD.example("matmul", linkage))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertNotIn("PROBLEM", done.stdout)

    def test_stats_go_to_standard_error_as_json(self):
        done = farcall("run", "--server", self.url, "--stats", "--", BUILD.example("vector_add", "static"))
        self.assertEqual(done.returncode, 0, done.stderr)
        stats = json.loads(done.stderr[done.stderr.index("{") :])
        self.assertGreaterEqual(stats["round_trips"], 1)

    def test_stats_go_to_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "stats.json")
            done = farcall("run", "--server", self.url, f"--stats={path}", BUILD.example("vector_add", "shared"))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIsInstance(json.loads(path.read_text())["round_trips"], int)

    def test_run_keeps_exit_code_and_arguments(self):
        done = farcall("run", "--server", self.url, "--", "sh", "-c", 'echo "$0 $1"; exit 42', "--server", "x y")
        self.assertEqual((done.returncode, done.stdout), (42, "--server x y\n"))


if __name__ == "__main__":
    unittest.main()
