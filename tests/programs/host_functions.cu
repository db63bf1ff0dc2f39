// Functions of the program that streams call (cudaLaunchHostFunc, cudaStreamAddCallback). Prints
// what they see and in which order, the same locally and remotely.
//
//   host_functions SCENARIO
#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "expect.h"

namespace {

using namespace std::chrono_literals;

__global__ void fill(unsigned* out, size_t count, unsigned value) {
  for (size_t i = threadIdx.x; i < count; i += blockDim.x) out[i] = value;
}
__global__ void add_one(unsigned* out) { *out += 1; }
__global__ void fault(unsigned* out) { out[0] = *reinterpret_cast<unsigned*>(8); }

constexpr size_t kCount = 10000;

struct Buffer {
  Buffer() {
    REQUIRE(cudaMallocHost(&host, kCount * sizeof(unsigned)));
    REQUIRE(cudaMalloc(&device, kCount * sizeof(unsigned)));
    std::memset(host, 0, kCount * sizeof(unsigned));
  }
  ~Buffer() {
    REQUIRE(cudaFreeHost(host));
    REQUIRE(cudaFree(device));
  }
  unsigned long long sum() const { return std::accumulate(host, host + kCount, 0ull); }
  unsigned *host = nullptr, *device = nullptr;
};

cudaStream_t make_stream() {
  cudaStream_t stream;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

void print_sum(void* buffer) { std::printf("sum %llu\n", static_cast<Buffer*>(buffer)->sum()); }

void fill_and_fetch(Buffer& buffer, unsigned value, cudaStream_t stream) {
  fill<<<1, 64, 0, stream>>>(buffer.device, kCount, value);
  REQUIRE(cudaMemcpyAsync(buffer.host, buffer.device, kCount * sizeof(unsigned),
                          cudaMemcpyDeviceToHost, stream));
}

// A function sees what the copies before it have brought, and nothing of what comes after it.
void order() {
  Buffer buffer;
  const cudaStream_t stream = make_stream();
  for (unsigned value = 1; value <= 20; ++value) {
    fill_and_fetch(buffer, value, stream);
    REQUIRE(cudaLaunchHostFunc(stream, print_sum, &buffer));
  }
  REQUIRE(cudaStreamSynchronize(stream));
  std::puts("synchronized");
}

// The program waits for its function by a flag alone.
void flag() {
  static std::atomic<int> called{0};
  const cudaStream_t stream = make_stream();
  for (int i = 1; i <= 3; ++i) {
    REQUIRE(cudaLaunchHostFunc(
        stream, [](void*) { called.fetch_add(1); }, nullptr));
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (called.load() < i && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(1ms);
    }
    std::printf("called %d\n", called.load());
  }
}

void streams() {
  struct Record {
    std::string text;
  };
  static Record records[2];
  const cudaStream_t all[2] = {make_stream(), make_stream()};
  static int numbers[2][50];
  for (int i = 0; i < 50; ++i) {
    for (int s = 0; s < 2; ++s) {
      numbers[s][i] = i;
      if (s == 0) {
        REQUIRE(cudaLaunchHostFunc(
            all[s], [](void* n) { records[0].text += std::to_string(*static_cast<int*>(n)) + ' '; },
            &numbers[s][i]));
      } else {
        REQUIRE(cudaStreamAddCallback(
            all[s],
            [](cudaStream_t, cudaError_t status, void* n) {
              records[1].text +=
                  std::to_string(*static_cast<int*>(n)) + (status == cudaSuccess ? " " : "! ");
            },
            &numbers[s][i], 0));
      }
    }
  }
  REQUIRE(cudaDeviceSynchronize());
  for (const Record& record : records) std::puts(record.text.c_str());
}

// A stream that is held by a function holds what waits for it, and nothing else.
void holds() {
  static std::atomic<bool> go{false};
  unsigned* value;
  REQUIRE(cudaMalloc(&value, sizeof *value));
  REQUIRE(cudaMemset(value, 0, sizeof *value));
  REQUIRE(cudaDeviceSynchronize());  // the streams do not wait for the legacy one
  const cudaStream_t held = make_stream(), other = make_stream();
  REQUIRE(cudaLaunchHostFunc(
      held,
      [](void*) {
        while (!go.load()) std::this_thread::sleep_for(1ms);
      },
      nullptr));
  add_one<<<1, 1, 0, held>>>(value);
  REQUIRE(cudaStreamSynchronize(other));
  report("held", cudaStreamQuery(held));
  go = true;
  REQUIRE(cudaStreamSynchronize(held));
  report("let go", cudaStreamQuery(held));
  unsigned result = 0;
  REQUIRE(cudaMemcpy(&result, value, sizeof result, cudaMemcpyDeviceToHost));
  std::printf("%u\n", result);
}

void graph() {
  Buffer buffer;
  const cudaStream_t stream = make_stream();
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  add_one<<<1, 1, 0, stream>>>(buffer.device);
  REQUIRE(cudaMemcpyAsync(buffer.host, buffer.device, sizeof(unsigned), cudaMemcpyDeviceToHost,
                          stream));
  static std::atomic<int> calls{0};
  REQUIRE(cudaLaunchHostFunc(
      stream, [](void*) { calls.fetch_add(1); }, nullptr));
  cudaGraph_t captured;
  REQUIRE(cudaStreamEndCapture(stream, &captured));
  cudaGraphExec_t exec;
  REQUIRE(cudaGraphInstantiate(&exec, captured, 0));
  REQUIRE(cudaMemset(buffer.device, 0, sizeof(unsigned)));
  REQUIRE(cudaDeviceSynchronize());  // the stream does not wait for the legacy one
  for (int i = 0; i < 5; ++i) {
    REQUIRE(cudaGraphLaunch(exec, stream));
    REQUIRE(cudaStreamSynchronize(stream));
    std::printf("calls %d, value %u\n", calls.load(), buffer.host[0]);
  }
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(captured));
}

// New input for a graph that is still in its function: the input waits, the function is let go.
void graph_input() {
  Buffer buffer;
  const cudaStream_t stream = make_stream();
  const size_t bytes = kCount * sizeof(unsigned);
  unsigned* result;
  REQUIRE(cudaMallocHost(&result, sizeof *result));
  REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  REQUIRE(cudaMemcpyAsync(buffer.device, buffer.host, bytes, cudaMemcpyHostToDevice, stream));
  add_one<<<1, 1, 0, stream>>>(buffer.device);
  REQUIRE(cudaMemcpyAsync(result, buffer.device, sizeof *result, cudaMemcpyDeviceToHost, stream));
  REQUIRE(cudaLaunchHostFunc(
      stream, [](void*) { std::this_thread::sleep_for(20ms); }, nullptr));
  cudaGraph_t captured;
  REQUIRE(cudaStreamEndCapture(stream, &captured));
  cudaGraphExec_t exec;
  REQUIRE(cudaGraphInstantiate(&exec, captured, 0));
  for (unsigned i = 0; i < 5; ++i) {
    // The copy reads when its turn comes, so what is written here may be what an earlier launch
    // sees; the last one's is certain.
    buffer.host[0] = i * 10;
    REQUIRE(cudaGraphLaunch(exec, stream));
  }
  REQUIRE(cudaStreamSynchronize(stream));
  std::printf("%u\n", *result);
  REQUIRE(cudaGraphExecDestroy(exec));
  REQUIRE(cudaGraphDestroy(captured));
}

void forbidden() {
  static cudaError_t inside[2];
  const cudaStream_t stream = make_stream();
  REQUIRE(cudaLaunchHostFunc(
      stream,
      [](void*) {
        void* memory = nullptr;
        inside[0] = cudaMalloc(&memory, 16);
        inside[1] = cudaDeviceSynchronize();
      },
      nullptr));
  REQUIRE(cudaStreamSynchronize(stream));
  report("cudaMalloc inside", inside[0]);
  report("cudaDeviceSynchronize inside", inside[1]);
}

// More copies behind a function than the server can hold for a stream that doesn't move.
void pile_up() {
  constexpr size_t kBytes = size_t{48} << 20;
  unsigned *host, *device;
  REQUIRE(cudaMallocHost(&host, kBytes));
  REQUIRE(cudaMalloc(&device, kBytes));
  std::memset(host, 1, kBytes);
  const cudaStream_t stream = make_stream();
  for (int i = 0; i < 8; ++i) {
    REQUIRE(cudaLaunchHostFunc(
        stream, [](void*) { std::this_thread::sleep_for(50ms); }, nullptr));
    REQUIRE(cudaMemcpyAsync(device, host, kBytes, cudaMemcpyHostToDevice, stream));
    REQUIRE(cudaMemcpyAsync(host, device, kBytes, cudaMemcpyDeviceToHost, stream));
  }
  REQUIRE(cudaStreamSynchronize(stream));
  std::printf("%u\n", host[kBytes / sizeof *host - 1]);
}

// cudaFree waits for the stream, and so for the function.
void free_behind() {
  static std::atomic<bool> called{false};
  void* memory;
  REQUIRE(cudaMalloc(&memory, 4096));
  REQUIRE(cudaLaunchHostFunc(
      nullptr,
      [](void*) {
        std::this_thread::sleep_for(100ms);
        called = true;
      },
      nullptr));
  REQUIRE(cudaFree(memory));
  std::printf("free waited: %d\n", called.load());
}

// Functions are not called after a fault; callbacks are, and are told.
void after_a_fault() {
  static std::atomic<int> functions{0};
  static std::atomic<int> told{-1};
  unsigned* memory;
  REQUIRE(cudaMalloc(&memory, sizeof *memory));
  const cudaStream_t stream = make_stream();
  fault<<<1, 1, 0, stream>>>(memory);
  const cudaError_t added = cudaStreamAddCallback(
      stream, [](cudaStream_t, cudaError_t status, void*) { told = int(status); }, nullptr, 0);
  const cudaError_t launched = cudaLaunchHostFunc(
      stream, [](void*) { functions.fetch_add(1); }, nullptr);
  (void)added;  // the fault may be known by now, or not
  (void)launched;
  report("synchronize", cudaStreamSynchronize(stream));
  std::printf("functions called: %d\n", functions.load());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view scenario = argc > 1 ? argv[1] : "";
  const struct {
    std::string_view name;
    void (*run)();
  } scenarios[] = {{"order", order},
                   {"flag", flag},
                   {"streams", streams},
                   {"holds", holds},
                   {"graph", graph},
                   {"graph_input", graph_input},
                   {"forbidden", forbidden},
                   {"pile_up", pile_up},
                   {"free_behind", free_behind},
                   {"after_a_fault", after_a_fault}};
  for (const auto& s : scenarios) {
    if (s.name == scenario) {
      s.run();
      return 0;
    }
  }
  std::fprintf(stderr, "no such scenario\n");
  return 2;
}
