"""What the end-to-end tests share: the build folder, a server for each test, and programs that run beside the test."""

import os
import pathlib
import queue
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import farcall_runs  # noqa: E402
from farcall_runs import Server, wait_until  # noqa: E402, F401

BUILD = farcall_runs.Build(os.environ.get("FARCALL_BUILD_FOLDER", "build"))
LINKAGES = ("shared", "static")


class Client:
    """A program that runs remotely while the test goes on, for a `with` statement."""

    def __init__(self, url: str, command: list):
        self.url = url
        self.command = [str(part) for part in command]

    def __enter__(self) -> "Client":
        self.process = subprocess.Popen(
            [str(BUILD.farcall), "run", "--server", self.url, "--", *self.command],
            env=farcall_runs.clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.errors: list[str] = []
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.readers = [threading.Thread(target=self._read_lines), threading.Thread(target=self._read_errors)]
        for reader in self.readers:
            reader.start()
        return self

    def _read_lines(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def _read_errors(self) -> None:
        self.errors += self.process.stderr

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def read_line(self, seconds_max: float = 60) -> str:
        try:
            line = self.lines.get(timeout=seconds_max)
        except queue.Empty:
            raise AssertionError(f"no line within {seconds_max} s; stderr:\n{''.join(self.errors)}") from None
        if line is None:
            raise AssertionError(f"the program ended; stderr:\n{''.join(self.errors)}")
        return line

    def ask(self, line: str, seconds_max: float = 60) -> str:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.read_line(seconds_max)

    def wait(self, seconds_max: float = 60) -> int:
        return self.process.wait(timeout=seconds_max)


class EndToEndTest(unittest.TestCase):
    """Each test gets a server of its own, which must be alive and clean at the end."""

    listen = ["tcp://127.0.0.1:0"]

    def setUp(self) -> None:
        self.server = Server(BUILD, self.listen)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.url = self.server.url

    def run_remote(self, program: pathlib.Path, *arguments, **options) -> farcall_runs.Run:
        return farcall_runs.run_remote(BUILD, self.url, [program, *arguments], **options)

    def explain(self, run: farcall_runs.Run) -> str:
        return f"{run.summary()}\n--- stdout\n{run.stdout.decode(errors='replace')}--- stderr\n{run.stderr}--- server\n{self.server.log()}"

    def assert_succeeds(self, run: farcall_runs.Run) -> None:
        self.assertEqual(run.code, 0, self.explain(run))

    def assert_server_works(self) -> None:
        """It is still there and a new client gets its answer."""
        self.assertIsNone(self.server.process.poll(), f"the server is gone:\n{self.server.log()}")
        self.assert_succeeds(self.run_remote(BUILD.example("vector_add", "static")))

    def assert_no_workers(self, seconds_max: float = 5) -> None:
        gone = wait_until(lambda: not self.server.workers(), seconds_max)
        self.assertTrue(gone, f"workers {self.server.workers()} are still there:\n{self.server.log()}")
