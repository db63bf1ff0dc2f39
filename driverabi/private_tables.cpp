// The tables, one section each. Slot numbers, signatures and behaviour are interface facts that
// public projects describe and that runs confirmed; slots nobody is known to call refuse with one
// log line. A table's first slot is its size in bytes, except for context local storage.
// docs/legal.md says why this exists and where it comes from.
#include "driverabi/private_tables.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <utility>
#include <vector>

#include "base/log.h"
#include "driverabi/context_storage.h"
#include "driverabi/md2.h"

namespace farcall::driverabi {
namespace {

// Process-wide because C callbacks have nowhere else to look; nothing here has a destructor,
// because all of it is used after exit() has begun.
Hooks g_hooks;
std::atomic<bool> g_hooks_set{false};
std::atomic<bool> g_deinitialised{false};

const Hooks& hooks() {
  const bool set = g_hooks_set.load(std::memory_order_acquire);
  assert(set && "set_hooks() comes before get_export_table()");
  (void)set;
  return g_hooks;
}

ContextStorage& storage() {
  static ContextStorage& storage = *new ContextStorage;
  return storage;
}

template <class Function>
const void* address(Function* function) {
  return reinterpret_cast<const void*>(function);
}

// What a slot holds that we do not implement: its caller learns so, and so does the log.
enum TableNumber {
  kCudart,
  kHooks,
  kTls,
  kStorage,
  kChecks,
  kIntegrity,
  kContext,
  kModule,
  kTables
};
constexpr const char* kTableNames[kTables] = {"CUDART_INTERFACE", "TOOLS_RUNTIME_CALLBACK_HOOKS",
                                              "TOOLS_TLS",        "CONTEXT_LOCAL_STORAGE",
                                              "CONTEXT_CHECKS",   "INTEGRITY_CHECK",
                                              "TOOLS_CONTEXT",    "TOOLS_MODULE"};

template <int table, int slot>
CUresult refuse() {
  log::warning("a library called slot {} of the driver's private table {}, which is not provided",
               slot, kTableNames[table]);
  return CUDA_ERROR_NOT_SUPPORTED;
}

// `count` slots that refuse, except the first, which is the size word, and the known ones.
// Trivially destructible: it is still there when static destructors have run.
template <int number, int count>
struct Table {
  explicit Table(std::initializer_list<std::pair<int, const void*>> known) {
    fill(std::make_integer_sequence<int, count>());
    slots[0] = reinterpret_cast<const void*>(sizeof slots);
    for (const auto& [slot, function] : known) slots[slot] = function;
  }
  template <int... all>
  void fill(std::integer_sequence<int, all...>) {
    ((slots[all] = address(&refuse<number, all>)), ...);
  }
  const void* slots[count];
};

CUresult or_current(CUcontext* context) {
  if (*context != nullptr) return CUDA_SUCCESS;
  const CUresult result = hooks().current_context(context);
  if (result != CUDA_SUCCESS) return result;
  return *context == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

// --- CUDART_INTERFACE: the primary context's handle; module loading for runtimes before 12.0.

CUresult cudart_primary_context(CUcontext* out, CUdevice device) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return hooks().primary_context(out, device);
}

CUresult cudart_load(CUmodule* out, const void* code) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (out == nullptr || code == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return hooks().load_module(out, code);
}
CUresult cudart_load_wrapper(CUmodule* out, const void* wrapper) {
  return cudart_load(out, wrapper);
}
CUresult cudart_load_wrapper_options(CUmodule* out, const void* wrapper, void*, void*, unsigned) {
  return cudart_load(out, wrapper);
}
CUresult cudart_load_container(const void* container, CUmodule* out, void*, void*, unsigned) {
  return cudart_load(out, container);
}

// Asked by runtimes since 13.1 before they start: that the driver's compilers be there. Ours need
// no loading.
CUresult cudart_load_compilers() {
  return deinitialised() ? CUDA_ERROR_DEINITIALIZED : CUDA_SUCCESS;
}

const void* const* cudart_table() {
  static const Table<kCudart, 13> table({{1, address(&cudart_load_wrapper)},
                                         {2, address(&cudart_primary_context)},
                                         {6, address(&cudart_load_wrapper_options)},
                                         {8, address(&cudart_load_container)},
                                         {12, address(&cudart_load_compilers)}});
  return table.slots;
}

// --- TOOLS_RUNTIME_CALLBACK_HOOKS: one enable flag per runtime function, for profilers; all stay
// zero. The runtime wants at least as many as it has functions (523 and 14 in CUDA 13.0), so newer
// ones have room to grow.

uint32_t g_function_flags[8192];
uint32_t g_domain_flags[1024];

void hooks_function_flags(uint32_t** flags, size_t* count) {
  *flags = g_function_flags;
  *count = std::size(g_function_flags);
}
void hooks_domain_flags(uint32_t** flags, size_t* count) {
  *flags = g_domain_flags;
  *count = std::size(g_domain_flags);
}

const void* const* hooks_table() {
  static const Table<kHooks, 7> table(
      {{2, address(&hooks_function_flags)}, {6, address(&hooks_domain_flags)}});
  return table.slots;
}

// --- TOOLS_TLS: the current context. cuBLASLt finds no kernels without it.

CUresult tls_current_context(CUcontext* out) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return hooks().current_context(out);
}

const void* const* tls_table() {
  static const Table<kTls, 4> table({{2, address(&tls_current_context)}});
  return table.slots;
}

// --- CONTEXT_LOCAL_STORAGE: where every copy of the runtime keeps its state of a context. No
// context means the current one. A lookup that finds nothing must be an error: success with a null
// pointer breaks the runtime.

CUresult storage_put(CUcontext context, void* key, void* value,
                     ContextStorage::Destructor destructor) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (const CUresult result = or_current(&context); result != CUDA_SUCCESS) return result;
  storage().put(context, key, value, destructor);
  return CUDA_SUCCESS;
}

CUresult storage_remove(CUcontext context, void* key) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (const CUresult result = or_current(&context); result != CUDA_SUCCESS) return result;
  return storage().remove(context, key) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult storage_get(void** value, CUcontext context, void* key) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult result = or_current(&context); result != CUDA_SUCCESS) return result;
  return storage().get(context, key, value) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

const void* const* storage_table() {
  static const void* const table[] = {address(&storage_put), address(&storage_remove),
                                      address(&storage_get), nullptr};
  return table;
}

// --- CONTEXT_CHECKS: is this context a wrapper around another (as green contexts seem to be)? None
// of ours is.

CUresult checks_unwrap(CUcontext, uint32_t* is_wrapped, CUcontext*) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (is_wrapped == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *is_wrapped = 0;
  return CUDA_SUCCESS;
}

uint32_t checks_mode() { return 0; }

const void* const* checks_table() {
  static const Table<kChecks, 4> table({{2, address(&checks_unwrap)}, {3, address(&checks_mode)}});
  return table.slots;
}

// --- INTEGRITY_CHECK: the runtime asks the driver to say what it is, keyed; three times, with its
// own version times ten plus 0, 1 and 2. The last digit names the scheme. Answering lets programs
// that carry the runtime inside them work on a driver that is not NVIDIA's; every answer is about
// our own driver's data.

const void* const* integrity_table();

// All fields are compared by the runtime; their layout is the message.
struct IntegrityMessage {
  uint32_t driver_version, asked_version;
  uint32_t process, thread;
  const void *cudart_table, *integrity_table, *integrity_function;
  uint64_t seconds;
};
static_assert(sizeof(IntegrityMessage) == 48);
static_assert(sizeof(DeviceIdentity) == 28);

constexpr uint64_t kFixedAnswers[2][2] = {{0x3341181c03cb675c, 0x8ed383aa1f4cd1e8},
                                          {0x1841181c03cb675c, 0x8ed383aa1f4cd1e8}};
constexpr uint8_t kIntegrityKey[16] = {0x14, 0x6a, 0xdd, 0xae, 0x53, 0xa9, 0xa7, 0x52,
                                       0xaa, 0x08, 0x41, 0x36, 0x0b, 0xf5, 0x5a, 0x9f};

CUresult integrity_answer(uint32_t version, uint64_t seconds, uint64_t* out) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const uint32_t scheme = version % 10;
  if (scheme < 2) {
    std::memcpy(out, kFixedAnswers[scheme], sizeof kFixedAnswers[scheme]);
    return CUDA_SUCCESS;
  }
  if (scheme > 2) {
    log::error(
        "this CUDA runtime checks its driver in a way ({}) that is not known here; use an older "
        "one",
        version);
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  std::vector<DeviceIdentity> devices(hooks().device_identities({}));
  devices.resize(std::min(devices.size(), hooks().device_identities(devices)));
  const IntegrityMessage head = {
      .driver_version = static_cast<uint32_t>(hooks().driver_version),
      .asked_version = version,
      .process = static_cast<uint32_t>(getpid()),
      .thread = static_cast<uint32_t>(pthread_self()),
      .cudart_table = cudart_table(),
      .integrity_table = integrity_table(),
      .integrity_function = integrity_table()[1],
      .seconds = seconds,
  };
  const auto head_bytes = std::as_bytes(std::span(&head, 1));
  const auto device_bytes = std::as_bytes(std::span(devices));
  std::vector<std::byte> message(head_bytes.begin(), head_bytes.end());
  message.insert(message.end(), device_bytes.begin(), device_bytes.end());
  const Md2Digest answer = hmac_md2(std::as_bytes(std::span(kIntegrityKey)), message);
  std::memcpy(out, answer.data(), answer.size());
  return CUDA_SUCCESS;
}

const void* const* integrity_table() {
  static const Table<kIntegrity, 3> table({{1, address(&integrity_answer)}});
  return table.slots;
}

// --- TOOLS_CONTEXT: identities of contexts and streams, for cuBLAS, cuBLASLt and cuFFT.

CUresult context_device(CUcontext context, CUdevice* out) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult result = or_current(&context); result != CUDA_SUCCESS) return result;
  return hooks().context_device(context, out);
}

CUresult context_id(CUcontext context, unsigned long long* out) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult result = or_current(&context); result != CUDA_SUCCESS) return result;
  return hooks().context_id(context, out);
}

// The stream behind a handle: the default stream becomes the legacy or the per-thread one.
CUresult context_inner_stream(CUcontext, CUstream stream, void** inner, int per_thread) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (inner == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (stream == nullptr) stream = per_thread ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY;
  *inner = stream;
  return CUDA_SUCCESS;
}

CUresult context_stream_id(CUcontext context, void* inner, unsigned long long* out) {
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult result = or_current(&context); result != CUDA_SUCCESS) return result;
  return hooks().stream_id(context, static_cast<CUstream>(inner), out);
}

const void* const* context_table() {
  static const Table<kContext, 93> table({{3, address(&context_device)},
                                          {4, address(&context_id)},
                                          {39, address(&context_stream_id)},
                                          {51, address(&context_inner_stream)}});
  return table.slots;
}

// --- TOOLS_MODULE: every function of a module goes to a callback. It returns their count, not a
// CUresult; cuFFT takes any other number than it expects as failure.

int module_each_function(CUcontext, CUmodule module, void (*each)(void*, CUfunction), void* user) {
  if (deinitialised() || each == nullptr) return 0;
  size_t count = 0;
  if (hooks().module_functions(module, {}, &count) != CUDA_SUCCESS) return 0;
  std::vector<CUfunction> functions(count);
  if (hooks().module_functions(module, functions, &count) != CUDA_SUCCESS) return 0;
  functions.resize(std::min(functions.size(), count));
  for (const CUfunction function : functions) each(user, function);
  return static_cast<int>(functions.size());
}

const void* const* module_table() {
  static const Table<kModule, 100> table({{7, address(&module_each_function)}});
  return table.slots;
}

struct Known {
  uint8_t id[16];
  const void* const* (*table)();
};
// clang-format off
constexpr Known kKnown[] = {
    {{0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a, 0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d, 0xf9}, cudart_table},
    {{0xa0, 0x94, 0x79, 0x8c, 0x2e, 0x74, 0x2e, 0x74, 0x93, 0xf2, 0x08, 0x00, 0x20, 0x0c, 0x0a, 0x66}, hooks_table},
    {{0x42, 0xd8, 0x5a, 0x81, 0x23, 0xf6, 0xcb, 0x47, 0x82, 0x98, 0xf6, 0xe7, 0x8a, 0x3a, 0xec, 0xdc}, tls_table},
    {{0xc6, 0x93, 0x33, 0x6e, 0x11, 0x21, 0xdf, 0x11, 0xa8, 0xc3, 0x68, 0xf3, 0x55, 0xd8, 0x95, 0x93}, storage_table},
    {{0x26, 0x3e, 0x88, 0x60, 0x7c, 0xd2, 0x61, 0x43, 0x92, 0xf6, 0xbb, 0xd5, 0x00, 0x6d, 0xfa, 0x7e}, checks_table},
    {{0xd4, 0x08, 0x20, 0x55, 0xbd, 0xe6, 0x70, 0x4b, 0x8d, 0x34, 0xba, 0x12, 0x3c, 0x66, 0xe1, 0xf2}, integrity_table},
    {{0x21, 0x31, 0x8c, 0x60, 0x97, 0x14, 0x32, 0x48, 0x8c, 0xa6, 0x41, 0xff, 0x73, 0x24, 0xc8, 0xf2}, context_table},
    {{0x6e, 0x16, 0x3f, 0xbe, 0xb9, 0x58, 0x44, 0x4d, 0x83, 0x5c, 0xe1, 0x82, 0xaf, 0xf1, 0x99, 0x1e}, module_table},
};
// clang-format on

}  // namespace

void set_hooks(const Hooks& hooks) {
  assert(hooks.primary_context && hooks.current_context && hooks.context_device &&
         hooks.context_id);
  assert(hooks.stream_id && hooks.module_functions && hooks.load_module && hooks.device_identities);
  g_hooks = hooks;
  g_hooks_set.store(true, std::memory_order_release);
}

CUresult get_export_table(const void** out, const CUuuid* id) {
  if (out == nullptr || id == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = nullptr;
  if (deinitialised()) return CUDA_ERROR_DEINITIALIZED;
  for (const Known& known : kKnown) {
    if (std::memcmp(known.id, id->bytes, sizeof known.id) != 0) continue;
    *out = known.table();
    return CUDA_SUCCESS;
  }
  const auto* b = reinterpret_cast<const unsigned char*>(id->bytes);
  log::debug("cuGetExportTable: no table {:02x}{:02x}{:02x}{:02x}-...", b[0], b[1], b[2], b[3]);
  return CUDA_ERROR_INVALID_VALUE;
}

void destroy_context_storage(CUcontext context) {
  if (!deinitialised()) storage().destroy(context);
}

void deinitialise() { g_deinitialised.store(true, std::memory_order_relaxed); }

bool deinitialised() { return g_deinitialised.load(std::memory_order_relaxed); }

}  // namespace farcall::driverabi
