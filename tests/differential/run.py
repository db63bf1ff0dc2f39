"""One example, run locally on softgpu and remotely on a gpu-server with softgpu: all output must be the same.

This is the backbone of the test suite: whatever CUDA means by a program, the software device decides it, and remoting
must not change it.
"""

import argparse
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import farcall_runs  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build-folder", required=True)
    parser.add_argument("--example", required=True)
    parser.add_argument("--linkage", choices=["shared", "static"], required=True, help="of the CUDA runtime")
    parser.add_argument("--transport", choices=["tcp", "unix"], required=True)
    options = parser.parse_args()

    build = farcall_runs.Build(options.build_folder)
    program = build.example(options.example, options.linkage)
    local = farcall_runs.run_local(build, [program])
    with tempfile.TemporaryDirectory(prefix="farcall-") as folder:
        listen = f"unix://{folder}/socket" if options.transport == "unix" else "tcp://127.0.0.1:0"
        with farcall_runs.Server(build, [listen]) as server:
            remote = farcall_runs.run_remote(build, server.url, [program])
            server_log = server.log()

    problems = farcall_runs.differences(local, remote)
    if local.code != 0:
        problems.append(f"the local run failed: {local.summary()}")
    if remote.stats is None:
        problems.append("the client library left no statistics: was the program remote at all?")
    elif remote.stats["round_trips"] < 1:
        problems.append(f"no round trip was counted: {remote.stats}")
    if not problems:
        print(f"equal: {len(local.stdout)} bytes of output, {len(local.files)} files, round trips {remote.stats['round_trips']}")
        return 0
    print("\n".join(problems))
    print(f"--- local stdout\n{local.stdout.decode(errors='replace')}--- local stderr\n{local.stderr}")
    print(f"--- remote stdout\n{remote.stdout.decode(errors='replace')}--- remote stderr\n{remote.stderr}--- server\n{server_log}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
