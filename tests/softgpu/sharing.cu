// Several devices, and memory and events of another process, through the runtime. The program runs
// itself again for the other process.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "check.h"

__global__ void add(int* cells, int value) { cells[threadIdx.x] += value; }

__device__ __managed__ int managed[4] = {1, 2, 3, 4};

static std::string as_text(const void* bytes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", static_cast<const unsigned char*>(bytes)[i]);
    text += digits;
  }
  return text;
}
static void from_text(const char* text, void* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    unsigned value = 0;
    std::sscanf(text + 2 * i, "%2x", &value);
    static_cast<unsigned char*>(bytes)[i] = static_cast<unsigned char>(value);
  }
}

// Adds 1000 to the memory, after the event.
static int other_process(const char* memory_text, const char* event_text) {
  cudaIpcMemHandle_t memory_handle;
  cudaIpcEventHandle_t event_handle;
  from_text(memory_text, &memory_handle, sizeof(memory_handle));
  from_text(event_text, &event_handle, sizeof(event_handle));
  void* memory;
  cudaEvent_t event;
  OK(cudaIpcOpenMemHandle(&memory, memory_handle, cudaIpcMemLazyEnablePeerAccess));
  OK(cudaIpcOpenEventHandle(&event, event_handle));
  OK(cudaStreamWaitEvent(0, event, 0));
  add<<<1, 32>>>(static_cast<int*>(memory), 1000);
  OK(cudaDeviceSynchronize());
  OK(cudaIpcCloseMemHandle(memory));
  return finish();
}

static void check_devices() {
  int count = 0, can = 0;
  OK(cudaGetDeviceCount(&count));
  CHECK(count == 2);
  int *first, *second, host[32];
  OK(cudaMalloc(&first, sizeof(host)));
  OK(cudaMemset(first, 0, sizeof(host)));
  add<<<1, 32>>>(first, 5);
  OK(cudaSetDevice(1));
  OK(cudaMalloc(&second, sizeof(host)));
  OK(cudaMemcpyPeer(second, 1, first, 0, sizeof(host)));
  add<<<1, 32>>>(second, 1);
  OK(cudaMemcpy(host, second, sizeof(host), cudaMemcpyDefault));
  CHECK(host[0] == 6 && host[31] == 6);
  OK(cudaDeviceCanAccessPeer(&can, 1, 0));
  CHECK(can == 1);
  OK(cudaDeviceEnablePeerAccess(0, 0));
  GIVES(cudaErrorPeerAccessAlreadyEnabled, cudaDeviceEnablePeerAccess(0, 0));
  cudaGetLastError();
  add<<<1, 32>>>(first, 10);  // device 1 writes memory of device 0
  OK(cudaDeviceSynchronize());
  OK(cudaSetDevice(0));
  OK(cudaMemcpy(host, first, sizeof(host), cudaMemcpyDefault));
  CHECK(host[31] == 15);
}

static void check_processes(char* program) {
  int *memory, host[32] = {};
  cudaEvent_t event;
  OK(cudaMalloc(&memory, sizeof(host)));
  OK(cudaMemset(memory, 0, sizeof(host)));
  OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventInterprocess));
  cudaIpcMemHandle_t memory_handle;
  cudaIpcEventHandle_t event_handle;
  OK(cudaIpcGetMemHandle(&memory_handle, memory));
  OK(cudaIpcGetEventHandle(&event_handle, event));
  add<<<1, 32>>>(memory, 7);
  OK(cudaEventRecord(event));
  std::string memory_text = as_text(&memory_handle, sizeof(memory_handle));
  std::string event_text = as_text(&event_handle, sizeof(event_handle));
  char* arguments[] = {program, memory_text.data(), event_text.data(), nullptr};
  pid_t child = 0;
  int status = -1;
  CHECK(posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments, environ) == 0);
  waitpid(child, &status, 0);
  CHECK(status == 0);
  OK(cudaMemcpy(host, memory, sizeof(host), cudaMemcpyDeviceToHost));
  CHECK(host[0] == 1007 && host[31] == 1007);
}

int main(int argc, char** argv) {
  setenv("FARCALL_SOFTGPU_DEVICES", "2", 1);
  if (argc == 3) return other_process(argv[1], argv[2]);
  check_devices();
  check_processes(argv[0]);
  managed[0] = 10;
  add<<<1, 4>>>(managed, 1);
  OK(cudaDeviceSynchronize());
  CHECK(managed[0] == 11 && managed[1] == 3 && managed[3] == 5);
  return finish();
}
