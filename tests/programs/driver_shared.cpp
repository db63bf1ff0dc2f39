// What a program tells others, and is told: the log of failures, and memory that travels as a file
// descriptor, within a process and between two. Prints the same locally and remotely.
//
//   driver_shared SCENARIO
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "show.h"

namespace {

// --- The log

struct Heard {
  int calls = 0;
  std::string last;
  bool whole = true;  // the length is that of the text
};
void CUDA_CB hear(void* data, CUlogLevel level, char* message, size_t length) {
  auto* heard = static_cast<Heard*>(data);
  ++heard->calls;
  heard->last = message;
  heard->whole = heard->whole && std::strlen(message) == length && level == CU_LOG_LEVEL_ERROR;
}

// Each line from "[CUDA]" on: what is before it, time and thread, is different each time.
void print_lines(const char* what, const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find("[CUDA]");
    std::printf("%s: %s\n", what, at == std::string::npos ? line.c_str() : line.c_str() + at);
  }
}

void logs() {
  Heard heard;
  CUlogsCallbackHandle handle = nullptr;
  CUlogIterator at = 0;
  SHOW(cuLogsCurrent(&at, 0));
  SHOW(cuLogsRegisterCallback(hear, &heard, &handle));
  SHOW(cuCtxSetLimit(CUlimit(99), 1));
  print_lines("heard", heard.last);
  SHOW(cuMemAlloc(nullptr, 16));
  SHOW(cuStreamQuery(nullptr));
  std::printf("%d calls, %s\n", heard.calls, heard.whole ? "whole" : "broken");
  std::vector<char> buffer(4096, 'x');
  size_t size = buffer.size();
  CUlogIterator other = at;
  SHOW(cuLogsDumpToMemory(&at, buffer.data(), &size, 0));
  std::printf("%s\n", std::strlen(buffer.data()) == size ? "the length is told" : "another length");
  print_lines("memory", buffer.data());
  size = buffer.size();
  SHOW(cuLogsDumpToMemory(&at, buffer.data(), &size, 0));
  std::printf("%zu bytes more\n", size);
  size = 8;
  SHOW(cuLogsDumpToMemory(&other, buffer.data(), &size, 0));  // which is a failure itself
  std::printf("%zu bytes in too little room\n", size);
  char path[] = "/tmp/driver_shared.XXXXXX";
  const int fd = mkstemp(path);
  if (fd < 0) std::exit(3);
  close(fd);
  SHOW(cuLogsDumpToFile(&other, path, 0));
  std::ifstream file(path);
  std::ostringstream content;
  content << file.rdbuf();
  print_lines("file", content.str());
  unlink(path);
  SHOW(cuLogsDumpToFile(nullptr, "/nonexistent/log", 0));
  SHOW(cuLogsDumpToFile(nullptr, nullptr, 0));
  SHOW(cuLogsDumpToMemory(nullptr, nullptr, &size, 0));
  SHOW(cuLogsCurrent(&at, 1));
  SHOW(cuLogsCurrent(nullptr, 0));
  const int before = heard.calls;
  SHOW(cuLogsUnregisterCallback(handle));
  SHOW(cuLogsUnregisterCallback(handle));
  SHOW(cuMemAlloc(nullptr, 16));
  std::printf("%d heard after that\n", heard.calls - before);
  SHOW(cuLogsRegisterCallback(nullptr, nullptr, &handle));
  // Many failures push the oldest out, which the reader learns.
  SHOW(cuLogsCurrent(&at, 0));
  for (int i = 0; i < 2000; ++i) (void)cuMemAlloc(nullptr, 16);
  buffer.resize(100000);
  size = buffer.size();
  SHOW(cuLogsDumpToMemory(&at, buffer.data(), &size, 0));
  std::printf("%s, %s\n", size < 26000 ? "not all of them" : "all of them",
              std::strstr(buffer.data(), "lost") != nullptr ? "and it says so" : "silently");
}

// --- Memory

CUmemAllocationProp shareable() {
  CUmemAllocationProp what = {};
  what.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  what.location = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
  what.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  return what;
}
size_t granularity() {
  const CUmemAllocationProp what = shareable();
  size_t bytes = 0;
  NEED(cuMemGetAllocationGranularity(&bytes, &what, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  return bytes;
}
void* as_handle(int fd) { return reinterpret_cast<void*>(static_cast<intptr_t>(fd)); }

CUdeviceptr map(CUmemGenericAllocationHandle memory, size_t bytes) {
  CUdeviceptr at = 0;
  NEED(cuMemAddressReserve(&at, bytes, 0, 0, 0));
  NEED(cuMemMap(at, bytes, 0, memory, 0));
  const CUmemAccessDesc access = {{CU_MEM_LOCATION_TYPE_DEVICE, {0}},
                                  CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  NEED(cuMemSetAccess(at, bytes, &access, 1));
  return at;
}
void unmap(CUdeviceptr at, size_t bytes) {
  NEED(cuMemUnmap(at, bytes));
  NEED(cuMemAddressFree(at, bytes));
}
void put(CUdeviceptr at, int value) { NEED(cuMemcpyHtoD(at, &value, sizeof value)); }
int get(CUdeviceptr at) {
  int value = 0;
  NEED(cuMemcpyDtoH(&value, at, sizeof value));
  return value;
}

constexpr auto kFile = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

void memory() {
  const size_t bytes = granularity();
  const CUmemAllocationProp what = shareable();
  CUmemGenericAllocationHandle made = 0, imported = 0, plain = 0;
  SHOW(cuMemCreate(&made, bytes, &what, 0));
  int fd = -1;
  SHOW(cuMemExportToShareableHandle(&fd, made, kFile, 0));
  std::printf("%s\n", fd >= 0 ? "a descriptor" : "none");
  SHOW(cuMemImportFromShareableHandle(&imported, as_handle(fd), kFile));
  std::printf("%s\n", imported != made ? "another handle" : "the same");
  const CUdeviceptr one = map(made, bytes), two = map(imported, bytes);
  put(one, 41);
  std::printf("imported: %d\n", get(two));
  put(two + 64, 42);
  std::printf("exported: %d\n", get(one + 64));
  unmap(one, bytes);
  SHOW(cuMemRelease(made));
  std::printf("still there: %d\n", get(two));
  unmap(two, bytes);
  SHOW(cuMemRelease(imported));

  CUmemAllocationProp private_one = what;
  private_one.requestedHandleTypes = CU_MEM_HANDLE_TYPE_NONE;
  NEED(cuMemCreate(&plain, bytes, &private_one, 0));
  SHOW(cuMemExportToShareableHandle(&fd, plain, kFile, 0));
  SHOW(cuMemExportToShareableHandle(nullptr, plain, kFile, 0));
  SHOW(cuMemExportToShareableHandle(&fd, plain, kFile, 1));
  NEED(cuMemRelease(plain));
  int pipes[2];
  if (pipe(pipes) != 0) std::exit(3);
  SHOW(cuMemImportFromShareableHandle(&imported, as_handle(pipes[0]), kFile));
  SHOW(cuMemImportFromShareableHandle(&imported, as_handle(-1), kFile));
  SHOW(cuMemImportFromShareableHandle(nullptr, as_handle(fd), kFile));
  SHOW(cuMemImportFromShareableHandle(&imported, as_handle(fd), CU_MEM_HANDLE_TYPE_FABRIC));
  close(fd);
}

void pools() {
  CUmemPoolProps what = {};
  what.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  what.handleTypes = kFile;
  what.location = {CU_MEM_LOCATION_TYPE_DEVICE, {0}};
  CUmemoryPool pool = nullptr, imported = nullptr;
  SHOW(cuMemPoolCreate(&pool, &what));
  int fd = -1;
  SHOW(cuMemPoolExportToShareableHandle(&fd, pool, kFile, 0));
  SHOW(cuMemPoolExportToShareableHandle(&fd, pool, kFile, 9));
  SHOW(cuMemPoolExportToShareableHandle(nullptr, pool, kFile, 0));
  SHOW(cuMemPoolImportFromShareableHandle(&imported, as_handle(fd), kFile, 0));
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_DEFAULT));
  CUdeviceptr one = 0, two = 0;
  NEED(cuMemAllocFromPoolAsync(&one, 4096, pool, stream));
  NEED(cuStreamSynchronize(stream));
  put(one, 77);
  CUmemPoolPtrExportData where = {};
  SHOW(cuMemPoolExportPointer(&where, one));
  SHOW(cuMemPoolImportPointer(&two, imported, &where));
  std::printf("%d\n", get(two));
  SHOW(cuMemAllocFromPoolAsync(&one, 4096, imported, stream));  // who imports doesn't allocate
  NEED(cuMemFree(two));
  SHOW(cuMemPoolDestroy(imported));
  SHOW(cuMemPoolDestroy(pool));
  close(fd);
  NEED(cuStreamDestroy(stream));
}

void external() {
  const size_t bytes = granularity();
  const CUmemAllocationProp what = shareable();
  CUmemGenericAllocationHandle made = 0;
  NEED(cuMemCreate(&made, bytes, &what, 0));
  const CUdeviceptr own = map(made, bytes);
  int fd = -1;
  NEED(cuMemExportToShareableHandle(&fd, made, kFile, 0));
  CUDA_EXTERNAL_MEMORY_HANDLE_DESC from = {};
  from.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD;
  from.handle.fd = fd;
  from.size = bytes;
  CUexternalMemory memory = nullptr;
  SHOW(cuImportExternalMemory(&memory, &from));
  std::printf("%s\n",
              close(fd) == 0 ? "the descriptor is still the program's" : "it is the driver's");
  CUDA_EXTERNAL_MEMORY_BUFFER_DESC part = {};
  part.size = 8192;
  part.offset = 4096 + 256;
  CUdeviceptr buffer = 0, base = 0;
  SHOW(cuExternalMemoryGetMappedBuffer(&buffer, memory, &part));
  put(own + part.offset, 1234);
  std::printf("%d\n", get(buffer));
  put(buffer + 4, 4321);
  std::printf("%d\n", get(own + part.offset + 4));
  size_t size = 0;
  SHOW(cuMemGetAddressRange(&base, &size, buffer + 100));
  std::printf("%s, %zu bytes\n", base == buffer ? "from its start" : "from elsewhere", size);
  part.offset = bytes;
  SHOW(cuExternalMemoryGetMappedBuffer(&base, memory, &part));
  part.size = 0;
  SHOW(cuExternalMemoryGetMappedBuffer(&base, memory, &part));
  SHOW(cuDestroyExternalMemory(memory));
  std::printf("after that: %d\n", get(buffer));
  SHOW(cuMemFree(buffer));
  SHOW(cuMemFree(buffer));
  SHOW(cuDestroyExternalMemory(memory));
  SHOW(cuExternalMemoryGetMappedBuffer(&base, memory, &part));
  CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC levels = {};
  CUmipmappedArray array = nullptr;
  SHOW(cuExternalMemoryGetMappedMipmappedArray(&array, memory, &levels));
  int pipes[2];
  if (pipe(pipes) != 0) std::exit(3);
  from.handle.fd = pipes[0];
  SHOW(cuImportExternalMemory(&memory, &from));
  from.size = 0;
  SHOW(cuImportExternalMemory(&memory, &from));
  from.size = bytes;
  from.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_WIN32;
  SHOW(cuImportExternalMemory(&memory, &from));
  unmap(own, bytes);
  NEED(cuMemRelease(made));
}

// --- Two processes

void send_file(int socket, int fd) {
  char byte = 0, control[CMSG_SPACE(sizeof(int))] = {};
  iovec vector = {&byte, 1};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(part), &fd, sizeof fd);
  if (sendmsg(socket, &message, 0) != 1) std::exit(3);
}
int receive_file(int socket) {
  char byte = 0, control[CMSG_SPACE(sizeof(int))] = {};
  iovec vector = {&byte, 1};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  int fd = -1;
  if (recvmsg(socket, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == nullptr) std::exit(3);
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

void begin() {
  CUcontext context = nullptr;
  NEED(cuInit(0));
  NEED(cuDevicePrimaryCtxRetain(&context, 0));
  NEED(cuCtxSetCurrent(context));
}

// The child imports what the parent exported, before either has made a CUDA call.
int processes() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 3;
  const pid_t child = fork();
  begin();
  const size_t bytes = granularity();
  CUmemGenericAllocationHandle handle = 0;
  if (child == 0) {
    const int fd = receive_file(ends[1]);
    SHOW(cuMemImportFromShareableHandle(&handle, as_handle(fd), kFile));
    const CUdeviceptr at = map(handle, bytes);
    std::printf("from the parent: %d\n", get(at));
    put(at, 600);
    NEED(cuCtxSynchronize());
    return 0;
  }
  const CUmemAllocationProp what = shareable();
  NEED(cuMemCreate(&handle, bytes, &what, 0));
  const CUdeviceptr at = map(handle, bytes);
  put(at, 500);
  NEED(cuCtxSynchronize());
  int fd = -1, status = -1;
  NEED(cuMemExportToShareableHandle(&fd, handle, kFile, 0));
  send_file(ends[0], fd);
  if (waitpid(child, &status, 0) != child || status != 0) return 3;
  std::printf("from the child: %d\n", get(at));
  return 0;
}

constexpr Scenario kScenarios[] = {
    {"logs", logs},
    {"memory", memory},
    {"pools", pools},
    {"external", external},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "processes") return processes();
  return run_scenario(argc, argv, kScenarios);
}
