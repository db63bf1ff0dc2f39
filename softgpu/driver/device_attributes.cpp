// The numbers a device reports. NVIDIA's runtime asks for over a hundred of them when it starts and
// fails if any is refused. What softgpu can't do is reported as 0, so that programs take their
// other path.
#include "softgpu/driver/device.h"

namespace farcall::softgpu {

Limits limits_of(int sm) {
  Limits limits;
  const auto set = [&limits](int threads, int blocks, int shared_kib, int optin_kib) {
    limits.threads_per_multiprocessor = threads;
    limits.blocks_per_multiprocessor = blocks;
    limits.shared_per_multiprocessor = shared_kib * 1024;
    limits.shared_per_block_optin = optin_kib * 1024;
  };
  if (sm >= 120) {
    set(1536, 24, 100, 99);
  } else if (sm >= 90) {
    set(2048, 32, 228, 227);
  } else if (sm == 89) {
    set(1536, 24, 100, 99);
  } else if (sm == 86) {
    set(1536, 16, 100, 99);
  } else if (sm >= 80) {
    set(2048, 32, 164, 163);
  } else if (sm >= 75) {
    set(1024, 16, 64, 64);
  } else if (sm >= 70) {
    set(2048, 32, 96, 96);
  } else {
    set(2048, 32, 96, 48);
  }
  if (sm < 80) limits.shared_reserved_per_block = 0;
  return limits;
}

CUresult Device::attribute(CUdevice_attribute attribute, int* value) const {
  const auto answer = [value](int number) {
    *value = number;
    return CUDA_SUCCESS;
  };
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      return answer(sm / 10);
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      return answer(sm % 10);

    // Launches.
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      return answer(limits.threads_per_block);
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
      return answer(limits.block_x);
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      return answer(limits.block_y);
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
      return answer(limits.block_z);
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
      return answer(limits.grid_x);
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
      return answer(limits.grid_y);
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      return answer(limits.grid_z);
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      return answer(limits.warp);
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      return answer(limits.multiprocessors);
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
      return answer(limits.threads_per_multiprocessor);
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
      return answer(limits.blocks_per_multiprocessor);
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
      return answer(limits.registers_per_block);
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
      return answer(limits.registers_per_multiprocessor);
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      return answer(limits.shared_per_block);
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      return answer(limits.shared_per_block_optin);
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      return answer(limits.shared_per_multiprocessor);
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
      return answer(limits.shared_reserved_per_block);
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
      return answer(limits.constant_bytes);
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT:
      return answer(0);
    case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE:
      return answer(CU_COMPUTEMODE_DEFAULT);
    case CU_DEVICE_ATTRIBUTE_MEM_SYNC_DOMAIN_COUNT:
      return answer(1);

    // Memory.
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH:
      return answer(static_cast<int>(limits.pitch_max));
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT:
    case CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT:
      return answer(static_cast<int>(DeviceMemory::kAlignment));
    case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT:
      return answer(32);
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
      return answer(2);
    case CU_DEVICE_ATTRIBUTE_INTEGRATED:
      return answer(0);
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS:
      return answer(0);
    case CU_DEVICE_ATTRIBUTE_DIRECT_MANAGED_MEM_ACCESS_FROM_HOST:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES:
      return answer(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    case CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED:
      return answer(sm >= 90 ? 1 : 0);
    case CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED:
      return answer(1);
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
      return answer(4 << 20);
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
      return answer(128);

    // Programs divide by these. Nominal: a CPU has no such clock.
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
      return answer(1000000);
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
      return answer(1000000);
    case CU_DEVICE_ATTRIBUTE_SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO:
      return answer(2);

    case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID:
      return answer(kPciDomain);
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
      return answer(pci_bus());
    case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID:
      return answer(kPciDevice);
    case CU_DEVICE_ATTRIBUTE_MULTI_GPU_BOARD_GROUP_ID:
      return answer(ordinal);
    case CU_DEVICE_ATTRIBUTE_NUMA_CONFIG:
      return answer(CU_DEVICE_NUMA_CONFIG_NONE);
    case CU_DEVICE_ATTRIBUTE_NUMA_ID:
      return answer(-1);
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID:
      return answer(-1);

    // Sizes of textures and surfaces: those of NVIDIA's devices, since runtimes check arrays
    // against them.
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH:
      return answer(131072);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_MIPMAPPED_WIDTH:
      return answer(32768);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH:
      return answer(1 << 27);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_WIDTH:
      return answer(131072);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_HEIGHT:
      return answer(65536);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_MIPMAPPED_WIDTH:
      return answer(32768);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_MIPMAPPED_HEIGHT:
      return answer(32768);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_WIDTH:
      return answer(131072);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_HEIGHT:
      return answer(65000);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_PITCH:
      return answer(2097120);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_WIDTH:
      return answer(32768);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_HEIGHT:
      return answer(32768);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH:
      return answer(16384);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH_ALTERNATE:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT_ALTERNATE:
      return answer(8192);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH_ALTERNATE:
      return answer(32768);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_LAYERED_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_HEIGHT:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_HEIGHT:
      return answer(32768);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_WIDTH:
      return answer(131072);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_HEIGHT:
      return answer(65536);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_WIDTH:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_HEIGHT:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_DEPTH:
      return answer(16384);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_LAYERS:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_LAYERS:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_LAYERED_LAYERS:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_LAYERS:
      return answer(2048);
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS:
    case CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_LAYERED_LAYERS:
      return answer(2046);

    default:
      if (attribute < CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK ||
          attribute >= CU_DEVICE_ATTRIBUTE_MAX) {
        return CUDA_ERROR_INVALID_VALUE;
      }
      return answer(0);
  }
}

}  // namespace farcall::softgpu
