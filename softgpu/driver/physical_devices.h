// All devices of this machine, whether CUDA_VISIBLE_DEVICES shows them to the program or not: what
// libnvidia-ml.so.1 beside softgpu's libcuda.so.1 needs, since NVML heeds no such variable.
#pragma once

#include <cuda.h>
#include <stddef.h>

struct FarcallSoftgpuDevice {
  char uuid[41];        // "GPU-66617263-..."
  char pci_bus_id[32];  // "0000:01:00.0"
  size_t memory_bytes;  // in all
  int sm;               // compute capability: 121 is 12.1
  const char* name;     // lives as long as the process
  CUdevice ordinal;     // the program's number for it; -1: it sees it not
};

// Fills up to `room` and gives how many there are; 0 before cuInit().
extern "C" unsigned farcallSoftgpuDevices(FarcallSoftgpuDevice* out, unsigned room);
