// Names of CUDA objects on the wire, and, cast to a pointer, the very handles the program sees.
//
// The client mints an id when the program creates an object, so that creation need not wait; the
// server binds it to the real handle when the call arrives. Ids that the server has to mint (a
// graph's nodes that the program never named) have kServerMinted set in their index. A slot's
// generation changes when it is reused, so that a handle kept after its destruction is refused
// instead of hitting another object.
#pragma once

#include <cstdint>

namespace farcall::rpc {

enum class HandleType : uint8_t {
  kNone = 0,
  kContext,
  kStream,
  kEvent,
  kModule,
  kLibrary,
  kKernel,    // CUkernel, cudaKernel_t
  kFunction,  // CUfunction, cudaFunction_t; calls that take one accept a kKernel too, as the driver
              // does
  kGraph,
  kGraphNode,
  kGraphExec,
  kUserObject,
  kMemoryPool,
  kArray,
  kMipmappedArray,
  kTextureReference,
  kSurfaceReference,
  kLinkState,
  kExternalMemory,
  kExternalSemaphore,
  kGreenContext,
  kMemoryHandle,  // CUmemGenericAllocationHandle
  kCount
};

using HandleId = uint64_t;

// type:8 | generation:24 | index:32; never 0, 1 or 2, which CUDA gives meanings of their own.
constexpr HandleId make_handle_id(HandleType type, uint32_t generation, uint32_t index) {
  return uint64_t(type) << 56 | uint64_t(generation & 0xffffff) << 32 | index;
}
constexpr HandleType handle_type(HandleId id) { return HandleType(id >> 56); }
constexpr uint32_t handle_generation(HandleId id) { return uint32_t(id >> 32) & 0xffffff; }
constexpr uint32_t handle_index(HandleId id) { return uint32_t(id); }

constexpr uint32_t kServerMinted = 1u << 31;
constexpr uint32_t kHandleIndexMax = 1u << 20;  // live objects of one type in one session

// CUDA's special streams keep their values on the wire.
constexpr HandleId kStreamDefault = 0;    // NULL: the legacy default stream
constexpr HandleId kStreamLegacy = 1;     // CU_STREAM_LEGACY
constexpr HandleId kStreamPerThread = 2;  // CU_STREAM_PER_THREAD: of the lane that makes the call

// The primary context of device n has a name before anyone retains it.
constexpr uint32_t kPrimaryContextGeneration = 0xfffff0;
constexpr HandleId primary_context_id(int device) {
  return make_handle_id(HandleType::kContext, kPrimaryContextGeneration, uint32_t(device));
}

}  // namespace farcall::rpc
