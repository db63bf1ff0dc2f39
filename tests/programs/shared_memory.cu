// Memory that the program and its kernels share by address: managed memory, and pinned memory that
// kernels use. Prints what each side sees, the same locally and remotely.
//
//   shared_memory SCENARIO [COUNT]
#include <cuda.h>
#include <setjmp.h>
#include <signal.h>

#include <cstring>
#include <numeric>
#include <string_view>
#include <thread>
#include <vector>

#include "expect.h"

namespace {

__global__ void step(unsigned* data, size_t count) {
  for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    data[i] = data[i] * 3 + 1;
  }
}

__global__ void add(const unsigned* a, const unsigned* b, unsigned* sum, size_t count) {
  for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    sum[i] = a[i] + b[i];
  }
}

struct Node {
  unsigned value;
  Node* next;
};
__global__ void walk(Node* node, unsigned* sum) {
  for (*sum = 0; node != nullptr; node = node->next) *sum += node->value++;
}

// Long enough that the program goes on meanwhile.
__global__ void slow_set(unsigned* word, unsigned value) {
  unsigned x = value;
  for (int i = 0; i < 2000000; ++i) x = x * 1664525 + 1013904223;
  *word = x == 12345 ? 0 : value;
}

unsigned long long sum(const unsigned* data, size_t count) {
  return std::accumulate(data, data + count, 0ull);
}
void fill(unsigned* data, size_t count, unsigned seed) {
  for (size_t i = 0; i < count; ++i) data[i] = static_cast<unsigned>(seed * 2654435761u + i);
}

unsigned* managed(size_t count) {
  unsigned* data;
  REQUIRE(cudaMallocManaged(&data, count * sizeof *data));
  return data;
}

void turns(unsigned* data, size_t count) {
  fill(data, count, 1);
  step<<<4, 64>>>(data, count);
  REQUIRE(cudaDeviceSynchronize());
  std::printf("after a kernel %llu\n", sum(data, count));
  data[0] = 7;  // some words in some pages
  data[count / 2] += 5;
  data[count - 1] = 9;
  for (int i = 0; i < 3; ++i) step<<<4, 64>>>(data, count);
  REQUIRE(cudaStreamSynchronize(nullptr));
  std::printf("after three more %llu, %u %u %u\n", sum(data, count), data[0], data[count / 2],
              data[count - 1]);
  fill(data, count, 2);  // all of it
  step<<<4, 64>>>(data, count);
  cudaEvent_t event;
  REQUIRE(cudaEventCreate(&event));
  REQUIRE(cudaEventRecord(event));
  REQUIRE(cudaEventSynchronize(event));
  std::printf("after an event %llu\n", sum(data, count));
  step<<<4, 64>>>(data, count);
  while (cudaStreamQuery(nullptr) == cudaErrorNotReady) {
  }
  std::printf("after queries %llu\n", sum(data, count));
  REQUIRE(cudaEventDestroy(event));
}

void copies(unsigned* data, size_t count) {
  const size_t bytes = count * sizeof *data;
  std::vector<unsigned> host(count);
  unsigned *device, *other = managed(count);
  REQUIRE(cudaMalloc(&device, bytes));
  fill(data, count, 3);
  REQUIRE(cudaMemcpy(device, data, bytes, cudaMemcpyHostToDevice));
  data[0] = 1;
  step<<<4, 64>>>(device, count);
  REQUIRE(cudaMemcpy(data, device, bytes, cudaMemcpyDeviceToHost));
  std::printf("to the device and back %llu\n", sum(data, count));
  REQUIRE(cudaMemcpy(host.data(), data, bytes, cudaMemcpyDefault));
  std::printf("out %llu\n", sum(host.data(), count));
  fill(host.data(), count, 4);
  REQUIRE(cudaMemcpy(data, host.data(), bytes, cudaMemcpyHostToHost));
  std::printf("in %llu\n", sum(data, count));
  data[1] = 2;
  REQUIRE(cudaMemcpyAsync(other, data, bytes, cudaMemcpyDefault, nullptr));
  REQUIRE(cudaDeviceSynchronize());
  std::printf("across %llu\n", sum(other, count));
  REQUIRE(cudaMemset(other, 1, bytes / 2));
  REQUIRE(cudaDeviceSynchronize());
  std::printf("memset %llu\n", sum(other, count));
  other[0] = 0;
  REQUIRE(cudaMemcpy2D(data, 8, other, 16, 8, count / 4, cudaMemcpyDefault));
  std::printf("rows %llu\n", sum(data, count));
  step<<<4, 64>>>(data, count);
  REQUIRE(cudaMemcpy(device, host.data(), 4, cudaMemcpyHostToDevice));
  std::printf("after a copy of something else %llu\n", sum(data, count));
  REQUIRE(cudaFree(device));
  REQUIRE(cudaFree(other));
}

void attributes(const char* what, const void* pointer) {
  cudaPointerAttributes a;
  REQUIRE(cudaPointerGetAttributes(&a, pointer));
  std::printf("%s: type %d device %d device pointer %d host pointer %d\n", what, int(a.type),
              a.device, a.devicePointer == pointer, a.hostPointer == pointer);
}

void kinds() {
  unsigned *device, *pinned, *mapped;
  REQUIRE(cudaMalloc(&device, 64));
  REQUIRE(cudaMallocHost(&pinned, 64));
  REQUIRE(cudaHostAlloc(&mapped, 64, cudaHostAllocMapped));
  unsigned* shared = managed(16);
  attributes("managed", shared + 1);
  attributes("pinned", pinned + 1);
  attributes("mapped", mapped + 1);
  void* same;
  REQUIRE(cudaHostGetDevicePointer(&same, pinned, 0));
  std::printf("device pointer %d\n", same == pinned);
  report("flag", cudaHostGetDevicePointer(&same, pinned, 1));
  cudaGetLastError();
  report("of device memory", cudaHostGetDevicePointer(&same, device, 0));
  cudaGetLastError();
  report("no bytes", cudaMallocManaged(&same, 0));
  report("bad flags", cudaMallocManaged(&same, 4, 8));
  report("inside", cudaFree(shared + 1));
  report("free", cudaFree(shared));
  report("twice", cudaFree(shared));
  cudaGetLastError();
  REQUIRE(cudaFree(device));
  REQUIRE(cudaFreeHost(pinned));
  REQUIRE(cudaFreeHost(mapped));
}

template <class Function>
Function* of_driver(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  REQUIRE(
      cudaGetDriverEntryPointByVersion(name, &function, CUDA_VERSION, cudaEnableDefault, &found));
  return reinterpret_cast<Function*>(function);
}

void advice() {
  constexpr size_t kBytes = 1 << 20;
  auto* data = managed(kBytes / 4);
  const cudaMemLocation here = {cudaMemLocationTypeDevice, 0}, host = {cudaMemLocationTypeHost, 0};
  int value = -1;
  REQUIRE(cudaMemAdvise(data, kBytes, cudaMemAdviseSetReadMostly, here));
  REQUIRE(cudaMemRangeGetAttribute(&value, 4, cudaMemRangeAttributeReadMostly, data, kBytes));
  std::printf("read mostly %d\n", value);
  REQUIRE(cudaMemAdvise(data, kBytes, cudaMemAdviseSetPreferredLocation, host));
  REQUIRE(
      cudaMemRangeGetAttribute(&value, 4, cudaMemRangeAttributePreferredLocation, data, kBytes));
  std::printf("preferred %d\n", value);
  REQUIRE(cudaMemAdvise(data, kBytes, cudaMemAdviseSetAccessedBy, here));
  REQUIRE(cudaMemAdvise(data, kBytes, cudaMemAdviseSetAccessedBy, host));
  int list[3];
  REQUIRE(cudaMemRangeGetAttribute(list, 12, cudaMemRangeAttributeAccessedBy, data, kBytes));
  std::printf("accessed by %d %d %d\n", list[0], list[1], list[2]);
  REQUIRE(cudaMemPrefetchAsync(data, kBytes, here, 0, nullptr));
  void* answers[] = {&value, list};
  size_t sizes[] = {4, 4};
  cudaMemRangeAttribute which[] = {cudaMemRangeAttributeLastPrefetchLocation,
                                   cudaMemRangeAttributeReadMostly};
  REQUIRE(cudaMemRangeGetAttributes(answers, sizes, which, 2, data, kBytes));
  std::printf("last prefetch %d, read mostly %d\n", value, list[0]);
  CUmem_range_attribute last[] = {CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION};
  value = -1;
  std::printf("of the driver %d: last prefetch %d\n",
              of_driver<decltype(cuMemRangeGetAttributes)>("cuMemRangeGetAttributes")(
                  answers, sizes, last, 1, CUdeviceptr(data), kBytes),
              value);
  fill(data, 1024, 5);
  REQUIRE(cudaMemPrefetchAsync(data, kBytes, here, 0, nullptr));
  step<<<4, 64>>>(data, 1024);
  REQUIRE(cudaMemPrefetchAsync(data, kBytes, host, 0, nullptr));
  REQUIRE(cudaDeviceSynchronize());
  std::printf("prefetched %llu\n", sum(data, 1024));
  report("beyond", cudaMemPrefetchAsync(data, kBytes + 1, here, 0, nullptr));
  report("no such device",
         cudaMemPrefetchAsync(data, kBytes, {cudaMemLocationTypeDevice, 99}, 0, nullptr));
  report("advice beyond", cudaMemAdvise(data, kBytes + 1, cudaMemAdviseSetReadMostly, here));
  report("wrong size",
         cudaMemRangeGetAttribute(&value, 3, cudaMemRangeAttributeReadMostly, data, kBytes));
  int local;
  report("not managed", cudaMemAdvise(&local, 4, cudaMemAdviseSetReadMostly, here));
  cudaStream_t stream;
  REQUIRE(cudaStreamCreate(&stream));
  report("attach", cudaStreamAttachMemAsync(stream, data, 0, cudaMemAttachSingle));
  report("attach a part", cudaStreamAttachMemAsync(stream, data, 16, cudaMemAttachSingle));
  void* parts[] = {data, data + 1024};
  size_t lengths[] = {4096, 4096};
  cudaMemLocation places[] = {here};
  size_t first[] = {0};
  report("prefetch batch",
         cudaMemPrefetchBatchAsync(parts, lengths, 2, places, first, 1, 0, stream));
  report("discard batch", cudaMemDiscardBatchAsync(parts, lengths, 2, 0, stream));
  report("discard and prefetch batch",
         cudaMemDiscardAndPrefetchBatchAsync(parts, lengths, 2, places, first, 1, 0, stream));
  CUdeviceptr same[] = {CUdeviceptr(data)};
  CUmemLocation to = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  std::printf("of the driver %d\n",
              of_driver<decltype(cuMemDiscardAndPrefetchBatchAsync)>(
                  "cuMemDiscardAndPrefetchBatchAsync")(same, lengths, 1, &to, first, 1, 0, stream));
  report("legacy stream", cudaMemDiscardBatchAsync(parts, lengths, 2, 0, nullptr));
  cudaGetLastError();
  REQUIRE(cudaStreamDestroy(stream));
  REQUIRE(cudaFree(data));
}

// Many allocations, freed in between, in a linked list.
void lists(size_t count) {
  std::vector<Node*> nodes(count);
  unsigned* total = managed(1);
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < count; ++i) {
      REQUIRE(cudaMallocManaged(&nodes[i], sizeof(Node)));
      if (nodes[i]->value != 0) std::printf("not zero\n");
      nodes[i]->value = unsigned(i) + unsigned(round);
      nodes[i]->next = i == 0 ? nullptr : nodes[i - 1];
    }
    walk<<<1, 1>>>(nodes.back(), total);
    walk<<<1, 1>>>(nodes.back(), total);
    REQUIRE(cudaDeviceSynchronize());
    unsigned values = 0;
    for (const Node* node : nodes) values += node->value;
    std::printf("%u on the device, %u here\n", *total, values);
    for (Node* node : nodes) REQUIRE(cudaFree(node));
  }
  REQUIRE(cudaFree(total));
}

// Each thread has its stream and its data; they fault at once.
void threads(size_t count) {
  std::vector<std::thread> all;
  std::vector<unsigned long long> sums(8);
  unsigned* common = managed(sums.size() * 4096);
  fill(common, sums.size() * 4096, 6);
  step<<<4, 64>>>(common, sums.size() * 4096);
  REQUIRE(cudaDeviceSynchronize());
  for (size_t t = 0; t < sums.size(); ++t) {
    all.emplace_back([&, t] {
      sums[t] = sum(common, sums.size() * 4096);
      cudaStream_t stream;
      REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
      unsigned* data = managed(count);
      REQUIRE(cudaStreamAttachMemAsync(stream, data, 0, cudaMemAttachSingle));
      REQUIRE(cudaStreamSynchronize(stream));
      fill(data, count, unsigned(t));
      for (int i = 0; i < 10; ++i) {
        step<<<2, 64, 0, stream>>>(data, count);
        REQUIRE(cudaStreamSynchronize(stream));
        data[size_t(i) * 37 % count] += 1;
        sums[t] += sum(data, count);
      }
      REQUIRE(cudaFree(data));
      REQUIRE(cudaStreamDestroy(stream));
    });
  }
  for (auto& thread : all) thread.join();
  for (const auto value : sums) std::printf("%llu\n", value);
  REQUIRE(cudaFree(common));
}

struct Between {
  unsigned* data;
  size_t count;
  unsigned long long seen;
};
void in_between(void* argument) {
  auto& between = *static_cast<Between*>(argument);
  between.seen = sum(between.data, between.count);
  between.data[3] = 1000;
}

void host_function() {
  Between between = {managed(5000), 5000, 0};
  fill(between.data, between.count, 8);
  cudaStream_t stream;
  REQUIRE(cudaStreamCreate(&stream));
  step<<<4, 64, 0, stream>>>(between.data, between.count);
  REQUIRE(cudaLaunchHostFunc(stream, in_between, &between));
  step<<<4, 64, 0, stream>>>(between.data, between.count);
  REQUIRE(cudaStreamSynchronize(stream));
  std::printf("in between %llu, at the end %llu\n", between.seen, sum(between.data, between.count));
  REQUIRE(cudaStreamDestroy(stream));
  REQUIRE(cudaFree(between.data));
}

void graph() {
  constexpr size_t kCount = 3000;
  unsigned *a = managed(kCount), *b = managed(kCount), *c = managed(kCount);
  cudaStream_t stream;
  REQUIRE(cudaStreamCreate(&stream));
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  add<<<4, 64, 0, stream>>>(a, b, c, kCount);
  REQUIRE(cudaMemcpyAsync(b, c, kCount * sizeof *b, cudaMemcpyDefault, stream));
  cudaGraph_t captured;
  REQUIRE(cudaStreamEndCapture(stream, &captured));
  cudaGraphExec_t exec;
  REQUIRE(cudaGraphInstantiate(&exec, captured, 0));
  fill(b, kCount, 1);
  for (unsigned i = 0; i < 3; ++i) {
    fill(a, kCount, i);
    REQUIRE(cudaGraphLaunch(exec, stream));
    REQUIRE(cudaStreamSynchronize(stream));
    std::printf("%llu %llu\n", sum(b, kCount), sum(c, kCount));
  }
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(captured));
  REQUIRE(cudaStreamDestroy(stream));
  for (unsigned* data : {a, b, c}) REQUIRE(cudaFree(data));
}

// The program writes to one part of a page while a kernel writes to another.
void halves() {
  unsigned* data;
  REQUIRE(cudaHostAlloc(&data, 4096, cudaHostAllocMapped));
  std::memset(data, 0, 4096);
  slow_set<<<1, 1>>>(data, 1);
  REQUIRE(cudaDeviceSynchronize());
  for (unsigned i = 2; i < 6; ++i) {
    slow_set<<<1, 1>>>(data + i, i);
    data[512 + i] = i;
    REQUIRE(cudaDeviceSynchronize());
    std::printf("%llu %u %u\n", sum(data, 1024), data[i], data[512 + i]);
  }
  REQUIRE(cudaFreeHost(data));
}

// Freeing waits for kernels: the next allocation may be the same memory.
void free_and_again() {
  for (unsigned i = 1; i < 6; ++i) {
    unsigned* data = managed(1);
    slow_set<<<1, 1>>>(data, i);
    REQUIRE(cudaFree(data));
    data = managed(1);
    *data = 100;
    step<<<1, 1>>>(data, 1);
    REQUIRE(cudaDeviceSynchronize());
    std::printf("%u\n", *data);
    REQUIRE(cudaFree(data));
  }
}

sigjmp_buf back;
void on_fault(int, siginfo_t*, void*) { siglongjmp(back, 1); }
void catch_faults() {
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
}
bool faults(volatile int* wild) {
  if (sigsetjmp(back, 1) != 0) return true;
  *wild = 1;
  return false;
}

// A program that lives with its own faults.
void own_handler(bool early) {
  if (early) catch_faults();
  unsigned* data = managed(1000);
  for (int i = 0; i < 3; ++i) {
    fill(data, 1000, unsigned(i));
    step<<<4, 64>>>(data, 1000);
    REQUIRE(cudaDeviceSynchronize());
    std::printf("%llu\n", sum(data, 1000));
    if (!early && i == 1) catch_faults();
    step<<<4, 64>>>(data, 1000);
    REQUIRE(cudaDeviceSynchronize());
    std::printf("%llu\n", sum(data, 1000));
    if (early || i > 0) {
      for (int n = 0; n < 3; ++n) std::printf("caught %d\n", faults(nullptr));
    }
  }
  REQUIRE(cudaFree(data));
}

// Round trips are counted: they depend on what is touched, not on how often.
void rounds(int count) {
  unsigned* data = managed(1 << 16);
  fill(data, 1 << 16, 1);
  for (int i = 0; i < count; ++i) {
    step<<<4, 64>>>(data, 1 << 16);
    data[i % 1000] = 5;
  }
  REQUIRE(cudaDeviceSynchronize());
  std::printf("%u\n", data[1000]);
  REQUIRE(cudaFree(data));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view scenario = argc > 1 ? argv[1] : "";
  const size_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1000;
  if (scenario == "managed") {
    unsigned* data = managed(count);
    turns(data, count);
    copies(data, count);
    REQUIRE(cudaFree(data));
  } else if (scenario == "mapped" || scenario == "pinned") {
    unsigned* data;
    REQUIRE(cudaHostAlloc(&data, count * sizeof *data,
                          scenario == "mapped" ? cudaHostAllocMapped : cudaHostAllocDefault));
    turns(data, count);
    copies(data, count);
    REQUIRE(cudaFreeHost(data));
  } else if (scenario == "registered") {  // the program's own, in the midst of other things
    std::vector<unsigned> mine(count + 100, 1);
    for (const unsigned flags : {cudaHostRegisterMapped, cudaHostRegisterDefault}) {
      unsigned* const data = mine.data() + 50;
      REQUIRE(cudaHostRegister(data, count * sizeof *data, flags));
      turns(data, count);
      copies(data, count);
      step<<<1, 32>>>(data, count);
      REQUIRE(cudaHostUnregister(data));
      std::printf("%llu of all\n", sum(mine.data(), mine.size()));
    }
  } else if (scenario == "kinds") {
    kinds();
  } else if (scenario == "advice") {
    advice();
  } else if (scenario == "lists") {
    lists(count);
  } else if (scenario == "threads") {
    threads(count);
  } else if (scenario == "host_function") {
    host_function();
  } else if (scenario == "graph") {
    graph();
  } else if (scenario == "halves") {
    halves();
  } else if (scenario == "free_and_again") {
    free_and_again();
  } else if (scenario == "own_handler_before") {
    own_handler(true);
  } else if (scenario == "own_handler_after") {
    own_handler(false);
  } else if (scenario == "rounds") {
    rounds(int(count));
  } else {
    std::fprintf(stderr, "no such scenario\n");
    return 2;
  }
  return 0;
}
