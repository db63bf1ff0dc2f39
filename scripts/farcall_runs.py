"""Runs programs locally and remotely and compares what they leave: for the demo, the end-to-end tests and gpu-test.

A run is a program in an empty folder of its own; what counts is its exit code, every byte on standard output, and every
file it leaves in that folder. Standard error is kept for messages, not compared.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import select
import signal
import subprocess
import tempfile
import time

# The longest an example may take; softgpu under a sanitizer on a busy machine is slow.
RUN_SECONDS_MAX = 240
START_SECONDS_MAX = 20


class Build:
    """The files of a build folder."""

    def __init__(self, folder: pathlib.Path | str):
        self.folder = pathlib.Path(folder).resolve()
        self.farcall = self.folder / "bin/farcall"
        self.gpu_server = self.folder / "bin/gpu-server"

    def example(self, name: str, linkage: str) -> pathlib.Path:
        return self.folder / "examples" / f"{name}_{linkage}"

    def program(self, name: str) -> pathlib.Path:
        return self.folder / "tests/programs" / name

    def examples(self) -> list[str]:
        return sorted(path.name[: -len("_static")] for path in (self.folder / "examples").glob("*_static"))


@dataclasses.dataclass
class Run:
    code: int
    stdout: bytes
    stderr: str
    files: dict[str, bytes]
    seconds: float
    stats: dict | None = None

    def summary(self) -> str:
        return "ok" if self.code == 0 else f"exit {self.code}" if self.code > 0 else f"signal {-self.code}"


def clean_environment() -> dict[str, str]:
    """Ours without what would redirect a program: settings of the user's shell must not decide a test."""
    return {name: value for name, value in os.environ.items() if name not in ("FARCALL_SERVER", "FARCALL_STATS", "LD_LIBRARY_PATH")}


def run(command: list, environment: dict[str, str] | None = None, seconds_max: float = RUN_SECONDS_MAX) -> Run:
    with tempfile.TemporaryDirectory(prefix="farcall-run-") as folder:
        begin = time.monotonic()
        try:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=folder,
                env=environment or clean_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds_max,
            )
            code, stdout, stderr = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as expired:
            code, stdout, stderr = -signal.SIGKILL, expired.stdout or b"", (expired.stderr or b"") + b"\n(timed out)"
        seconds = time.monotonic() - begin
        files = {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(pathlib.Path(folder).rglob("*")) if path.is_file()
        }
    return Run(code, stdout, stderr.decode(errors="replace"), files, seconds)


def run_local(build: Build, command: list) -> Run:
    """On softgpu, in the program's own process."""
    return run([build.farcall, "run", "--softgpu", "--", *command])


def run_remote(build: Build, url: str, command: list, **options) -> Run:
    with tempfile.NamedTemporaryFile(prefix="farcall-stats-", suffix=".json") as stats:
        result = run([build.farcall, "run", "--server", url, f"--stats={stats.name}", "--", *command], **options)
        text = pathlib.Path(stats.name).read_text()
    result.stats = json.loads(text) if text else None
    return result


def differences(local: Run, remote: Run) -> list[str]:
    """What is not the same, in sentences; empty: equal."""
    found = []
    if local.code != remote.code:
        found.append(f"exit codes: local {local.summary()}, remote {remote.summary()}")
    if local.stdout != remote.stdout:
        found.append("standard output:\n" + first_difference(local.stdout, remote.stdout))
    for name in sorted(local.files.keys() | remote.files.keys()):
        if local.files.get(name) == remote.files.get(name):
            continue
        sizes = [f"{len(run.files[name])} bytes" if name in run.files else "missing" for run in (local, remote)]
        found.append(f"file {name}: local {sizes[0]}, remote {sizes[1]}, contents differ")
    return found


def first_difference(local: bytes, remote: bytes) -> str:
    local_lines, remote_lines = local.splitlines(), remote.splitlines()
    for number in range(max(len(local_lines), len(remote_lines))):
        pair = [lines[number] if number < len(lines) else b"(no such line)" for lines in (local_lines, remote_lines)]
        if pair[0] != pair[1]:
            return f"  line {number + 1} local:  {pair[0].decode(errors='replace')}\n  line {number + 1} remote: {pair[1].decode(errors='replace')}"
    return "  only in line ends"


class Server:
    """A gpu-server of our own on free addresses, for a `with` statement."""

    def __init__(self, build: Build, listen: list[str] | None = None, softgpu: bool = True, options: list[str] = ()):
        self.build = build
        self.listen = listen or ["tcp://127.0.0.1:0"]
        self.softgpu = softgpu
        self.options = list(options)
        self.urls: list[str] = []

    def __enter__(self) -> "Server":
        self.log_file = tempfile.NamedTemporaryFile(prefix="gpu-server-", suffix=".log")
        read_end, write_end = os.pipe()
        command = [str(self.build.gpu_server), "--ready-fd", str(write_end), *self.options]
        if self.softgpu:
            command.append("--softgpu")
        for url in self.listen:
            command += ["--listen", url]
        environment = clean_environment()
        environment.setdefault("FARCALL_LOG", "info")
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file, pass_fds=[write_end]
        )
        os.close(write_end)
        try:
            self.urls = self._read_urls(read_end)
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(read_end)
        return self

    def _read_urls(self, descriptor: int) -> list[str]:
        text = b""
        deadline = time.monotonic() + START_SECONDS_MAX
        while text.count(b"\n") < len(self.listen):
            ready = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]
            part = os.read(descriptor, 4096) if ready else b""
            if not part:
                raise RuntimeError(f"gpu-server did not start; its log:\n{self.log()}")
            text += part
        return text.decode().split()

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log_file.close()

    @property
    def url(self) -> str:
        return self.urls[0]

    def log(self) -> str:
        return pathlib.Path(self.log_file.name).read_text(errors="replace")

    def workers(self) -> list[int]:
        """Process ids of its living children, zombies included: a reaped child is in no list."""
        children = []
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                children += [int(word) for word in (task / "children").read_text().split()]
        return sorted(children)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def wait_until(condition, seconds_max: float) -> bool:
    deadline = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
