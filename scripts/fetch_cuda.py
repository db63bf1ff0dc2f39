"""Makes a small CUDA toolkit from NVIDIA's own Python wheels: compiler, headers and runtime, about 400 MB unpacked.

The wheels hold the same files as the toolkit under nvidia/cu13/. They are laid out as nvcc expects (lib64, the .so names
that a linker looks for, executable bits), and their licence texts are kept beside them. Nothing of them is ever
installed or shipped by this project.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

# One set that belongs together: CUDA 13.0, update 2.
WHEELS = {
    "nvidia-cuda-nvcc": "13.0.88",  # nvcc, ptxas, cudafe++, fatbinary, nvlink
    "nvidia-nvvm": "13.0.88",  # cicc and libdevice
    "nvidia-cuda-crt": "13.0.88",  # include/crt
    "nvidia-cuda-runtime": "13.0.96",  # libcudart, headers
    "nvidia-cuda-cccl": "13.0.85",  # libcu++, Thrust, CUB
    "nvidia-cuda-profiler-api": "13.0.85",  # cudaProfiler.h, part of the driver API
}
REQUIREMENTS = [f"{name}=={version}" for name, version in WHEELS.items()]
PREFIX = "nvidia/cu13/"
CONTENTS = "wheels.txt"  # in the toolkit: what it was made of
NEEDED = [
    "bin/nvcc",
    "bin/ptxas",
    "nvvm/bin/cicc",
    "nvvm/libdevice/libdevice.10.bc",
    "include/cuda.h",
    "include/cuda_runtime.h",
    "include/cudaProfiler.h",
    "include/crt/host_config.h",
    "lib/libcudart_static.a",
]


def download(folder: pathlib.Path) -> None:
    print("setup: downloading NVIDIA's wheels:", " ".join(REQUIREMENTS), flush=True)
    command = [sys.executable, "-m", "pip", "download", "--progress-bar=off", "--no-deps", "--only-binary=:all:"]
    result = subprocess.run(command + ["--dest", str(folder), *REQUIREMENTS], capture_output=True, text=True)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["no output"]
        # The last line says "no such version" whatever happened; a failed connection is told above it.
        reason = next((line for line in lines if line.startswith("Could not fetch")), lines[-1])
        sys.exit(f"setup: pip could not download the CUDA compiler; install CUDA 13 and set CUDA_HOME. pip: {reason}")


def unpack(wheel: pathlib.Path, target: pathlib.Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = member.filename
            packagers_notes = name.startswith(PREFIX + ".")
            if name.endswith("/") or ".." in name.split("/") or packagers_notes:
                continue
            if name.startswith(PREFIX):
                path = target / name[len(PREFIX) :]
            elif ".dist-info/" in name and "license" in name.lower():
                path = target / "licenses" / (wheel.name.split("-")[0] + ".txt")
            else:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink)
            path.chmod(0o755 if path.parent.name == "bin" else 0o644)


def lay_out(target: pathlib.Path) -> None:
    """What a toolkit has and the wheels leave out."""
    (target / "lib64").symlink_to("lib")
    for library in sorted((target / "lib").glob("lib*.so.*")):
        link = library.with_name(library.name.split(".so.")[0] + ".so")
        if not link.exists():
            link.symlink_to(library.name)
    missing = [name for name in NEEDED if not (target / name).exists()]
    if missing:
        sys.exit(f"setup: NVIDIA's wheels lack {', '.join(missing)}; install CUDA 13 and set CUDA_HOME")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to make")
    output = parser.parse_args().output
    contents = "".join(line + "\n" for line in REQUIREMENTS)
    if (output / CONTENTS).is_file() and (output / CONTENTS).read_text() == contents:
        return
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    # Made aside and renamed, so that a folder of this name is always complete.
    with tempfile.TemporaryDirectory(dir=output.parent, prefix="cuda-") as folder:
        wheels = pathlib.Path(folder, "wheels")
        toolkit = pathlib.Path(folder, "toolkit")
        download(wheels)
        for wheel in sorted(wheels.glob("*.whl")):
            unpack(wheel, toolkit)
        lay_out(toolkit)
        (toolkit / CONTENTS).write_text(contents)
        toolkit.rename(output)


if __name__ == "__main__":
    main()
