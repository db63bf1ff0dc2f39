"""libnvidia-ml.so.1 as Python's NVML bindings, monitors and PyTorch load it: by dlopen, function by function."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from support import BUILD, EndToEndTest
import farcall_runs  # scripts/, which support puts on the path

# Runs in a process of its own, locally or remoted: asks what a monitor asks and prints it as JSON. ctypes alone, as
# the bindings are another package.
ASK = """
import ctypes, json, os, sys
nvml = ctypes.CDLL("libnvidia-ml.so.1")
def call(name, *arguments):
    return getattr(nvml, name)(*arguments)
class Memory(ctypes.Structure):
    _fields_ = [(n, ctypes.c_ulonglong) for n in ("total", "free", "used")]
class Process(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong), ("gi", ctypes.c_uint), ("ci", ctypes.c_uint)]
class Pci(ctypes.Structure):
    _fields_ = [("legacy", ctypes.c_char * 16)] + [(n, ctypes.c_uint) for n in
        ("domain", "bus", "device", "id", "subsystem")] + [("bus_id", ctypes.c_char * 32)]
out = {"before_init": call("nvmlDeviceGetCount_v2", ctypes.byref(ctypes.c_uint()))}
out["init"] = call("nvmlInit_v2")
if out["init"] == 0:
    count, version = ctypes.c_uint(), ctypes.c_int()
    call("nvmlDeviceGetCount_v2", ctypes.byref(count))
    call("nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(version))
    out |= {"count": count.value, "cuda": version.value, "devices": []}
    for index in range(count.value):
        handle, again = ctypes.c_void_p(), ctypes.c_void_p()
        call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle))
        name, uuid = ctypes.create_string_buffer(96), ctypes.create_string_buffer(96)
        memory, pci, major, minor = Memory(), Pci(), ctypes.c_int(), ctypes.c_int()
        results = [call("nvmlDeviceGetName", handle, name, 96), call("nvmlDeviceGetUUID", handle, uuid, 96),
                   call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory)),
                   call("nvmlDeviceGetPciInfo_v3", handle, ctypes.byref(pci)),
                   call("nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor)),
                   call("nvmlDeviceGetHandleByPciBusId_v2", pci.bus_id, ctypes.byref(again))]
        number = ctypes.c_uint()
        out["devices"].append({"results": results, "name": name.value.decode(), "uuid": uuid.value.decode(),
            "total": memory.total, "bus_id": pci.bus_id.decode(), "same": again.value == handle.value,
            "capability": [major.value, minor.value],
            "temperature": call("nvmlDeviceGetTemperature", handle, 0, ctypes.byref(number))})
    def ask():
        processes, infos = ctypes.c_uint(4), (Process * 4)()
        call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        call("nvmlDeviceGetComputeRunningProcesses_v3", handle, ctypes.byref(processes), infos)
        return [memory.used, [[infos[i].pid == os.getpid(), infos[i].used] for i in range(processes.value)]]
    if len(sys.argv) > 1:
        call("nvmlDeviceGetHandleByIndex_v2", 0, ctypes.byref(handle))
        out["idle"] = ask()
        cuda = ctypes.CDLL("libcuda.so.1")
        context, pointer = ctypes.c_void_p(), ctypes.c_void_p()
        out["cuda"] = [cuda.cuInit(0), cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
            cuda.cuCtxSetCurrent(context), cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(64 << 20))]
        out["busy"] = ask()
        out["cuda"].append(cuda.cuMemFree_v2(pointer))
        out["free"] = ask()
    out["shutdown"] = call("nvmlShutdown")
print(json.dumps(out))
"""


class NvmlTest(EndToEndTest):
    def ask(self, *arguments: str, local: bool = False, stats: str | None = None, url: str | None = None) -> dict:
        where = ["--softgpu"] if local else ["--server", url or self.url]
        options = [f"--stats={stats}"] if stats else []
        done = subprocess.run(
            [str(BUILD.farcall), "run", *where, *options, "--", sys.executable, "-c", ASK, *arguments],
            env=farcall_runs.clean_environment() | {"FARCALL_SOFTGPU_DEVICES": "2"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def test_a_remote_machine_answers_as_a_local_one(self):
        remote, local = self.ask(), self.ask(local=True)
        self.assertEqual(remote["before_init"], 1)  # NVML_ERROR_UNINITIALIZED
        self.assertEqual(remote["init"], 0)
        local["devices"] = local["devices"][: remote["count"]]  # the server was started without our variable
        local["count"] = remote["count"]
        self.assertEqual(remote, local)
        device = remote["devices"][0]
        self.assertEqual(device["results"], [0] * 6)
        self.assertTrue(device["uuid"].startswith("GPU-") and device["same"] and device["total"] > 0)
        self.assertEqual(device["temperature"], 3)  # NVML_ERROR_NOT_SUPPORTED: software has none

    def test_local_devices_are_as_many_as_softgpu_has(self):
        self.assertEqual(self.ask(local=True)["count"], 2)

    def test_memory_and_processes_follow_the_program(self):
        for local in (True, False):
            told = self.ask("cuda", local=local)
            self.assertEqual(told["cuda"], [0] * 5)
            self.assertEqual(told["idle"][1], [])
            self.assertGreaterEqual(told["busy"][0] - told["idle"][0], 64 << 20)
            self.assertEqual(len(told["busy"][1]), 1)
            is_me, used = told["busy"][1][0]
            self.assertTrue(is_me)
            self.assertGreaterEqual(used, 64 << 20)
            self.assertLess(told["free"][0], told["busy"][0])

    def test_what_a_monitor_asks_at_once_is_one_round_trip(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "stats.json")
            told = self.ask(stats=str(path))
            # The hello, the list; and for each device one reading, however many numbers were asked for.
            self.assertLessEqual(json.loads(path.read_text())["round_trips"], 2 + told["count"])

    def test_without_a_server_init_says_so(self):
        self.assertEqual(self.ask(url="unix:///nonexistent/farcall.sock")["init"], 9)  # DRIVER_NOT_LOADED

    def test_every_name_of_nvml_is_exported(self):
        names = (pathlib.Path(__file__).resolve().parents[2] / "nvml/exports.txt").read_text().split()
        for folder in ("farcall", "softgpu"):
            library = BUILD.folder / "lib" / folder / "libnvidia-ml.so.1"
            shown = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
            exported = {line.split()[-1].split("@")[0] for line in shown.stdout.splitlines()}
            self.assertEqual(exported, set(names))


class SmiTest(EndToEndTest):
    def smi(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(BUILD.farcall), "smi", "--server", self.url, *arguments],
            env=farcall_runs.clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_the_table_has_a_row_per_device(self):
        done = self.smi()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("CUDA Version: 13.0", done.stdout)
        self.assertIn("Farcall softgpu", done.stdout)
        self.assertRegex(done.stdout, r"0MiB / \d+MiB")
        lines = done.stdout.splitlines()[1:]
        self.assertEqual({len(line) for line in lines}, {len(lines[0])}, done.stdout)

    def test_fields_are_asked_for_by_nvidia_smis_names(self):
        done = self.smi("--query-gpu=index,name,memory.used,temperature.gpu", "--format=csv")
        self.assertEqual(done.stdout.splitlines()[0], "index, name, memory.used [MiB], temperature.gpu")
        self.assertRegex(done.stdout.splitlines()[1], r"^0, Farcall softgpu.*, 0 MiB, \[N/A\]$")
        bare = self.smi("--query-gpu=memory.total", "--format=csv,noheader,nounits")
        self.assertRegex(bare.stdout, r"^\d+\n")

    def test_wrong_fields_and_formats_are_usage_errors(self):
        for arguments in (["--query-gpu=colour"], ["--query-gpu=name", "--format=xml"]):
            done = self.smi(*arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn("farcall: smi:", done.stderr)

    def test_the_list_has_uuids(self):
        self.assertRegex(self.smi("-L").stdout, r"^GPU 0: Farcall softgpu.* \(UUID: GPU-[0-9a-f-]{36}\)\n")


if __name__ == "__main__":
    unittest.main()
