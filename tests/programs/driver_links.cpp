// Code that a program links at run time (cuLink*): PTX, fat binaries and files, what goes wrong,
// and what the logs say of it. And graphs as text. Prints the same locally and remotely.
//
//   driver_links SCENARIO
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "show.h"

namespace {

constexpr char kHead[] = ".version 7.8\n.target sm_75\n.address_size 64\n";

// The kernel's text uses what the other text defines.
constexpr char kKernel[] = R"ptx(
.extern .func (.param .u32 result) twice(.param .u32 value);
.extern .global .align 4 .u32 bonus;
.visible .entry apply(.param .u64 values)
{
    .reg .b32 %i, %v, %b;
    .reg .b64 %at, %offset;
    ld.param.u64        %at, [values];
    cvta.to.global.u64  %at, %at;
    mov.u32             %i, %tid.x;
    mul.wide.u32        %offset, %i, 4;
    add.s64             %at, %at, %offset;
    ld.global.u32       %v, [%at];
    {
        .param .u32 in;
        .param .u32 out;
        st.param.u32    [in], %v;
        call (out), twice, (in);
        ld.param.u32    %v, [out];
    }
    ld.global.u32       %b, [bonus];
    add.u32             %v, %v, %b;
    st.global.u32       [%at], %v;
    ret;
}
)ptx";

constexpr char kLibrary[] = R"ptx(
.visible .global .align 4 .u32 bonus = 1000;
.visible .func (.param .u32 result) twice(.param .u32 value)
{
    .reg .b32 %v;
    ld.param.u32        %v, [value];
    add.u32             %v, %v, %v;
    st.param.u32        [result], %v;
    ret;
}
)ptx";

std::string text(const char* body) { return std::string(kHead) + body; }

CUresult add(CUlinkState state, const std::string& ptx, const char* name) {
  return cuLinkAddData(state, CU_JIT_INPUT_PTX, const_cast<char*>(ptx.c_str()), ptx.size() + 1,
                       name, 0, nullptr, nullptr);
}

// Loads what was linked and runs it.
void run(const void* linked) {
  CUmodule module = nullptr;
  SHOW(cuModuleLoadData(&module, linked));
  CUfunction apply = nullptr;
  NEED(cuModuleGetFunction(&apply, module, "apply"));
  Ints values(4);
  values.set({1, 2, 3, 4});
  CUdeviceptr at = values.at();
  void* arguments[] = {&at};
  NEED(cuLaunchKernel(apply, 1, 1, 1, 4, 1, 1, 0, nullptr, arguments, nullptr));
  print("applied", values.get());
  CUdeviceptr bonus = 0;
  size_t bytes = 0;
  SHOW(cuModuleGetGlobal(&bonus, &bytes, module, "bonus"));
  const int five = 5;
  NEED(cuMemcpyHtoD(bonus, &five, sizeof five));
  NEED(cuLaunchKernel(apply, 1, 1, 1, 4, 1, 1, 0, nullptr, arguments, nullptr));
  print("again", values.get());
  unsigned count = 0;
  SHOW(cuModuleGetFunctionCount(&count, module));
  std::printf("%u kernels\n", count);
  NEED(cuModuleUnload(module));
}

void link() {
  CUlinkState state = nullptr;
  void* linked = nullptr;
  size_t bytes = 0;
  SHOW(cuLinkCreate(0, nullptr, nullptr, &state));
  SHOW(add(state, text(kKernel), "kernel"));
  SHOW(add(state, text(kLibrary), "library"));
  SHOW(cuLinkComplete(state, &linked, &bytes));
  std::printf("%s\n", linked != nullptr && bytes > 0 ? "something" : "nothing");
  run(linked);
  SHOW(cuLinkDestroy(state));
  SHOW(cuLinkDestroy(state));
  SHOW(cuLinkComplete(state, &linked, &bytes));
  SHOW(add(state, text(kLibrary), "too late"));
}

// As big as libraries are: more than one message of the wire.
void large() {
  std::string library = text(kLibrary) + ".global .align 4 .u32 table[100000] = {";
  for (int i = 0; i < 100000; ++i) library += (i > 0 ? ", " : "") + std::to_string(1000000 + i);
  library += "};\n";
  CUlinkState state = nullptr;
  void* linked = nullptr;
  size_t bytes = 0;
  NEED(cuLinkCreate(0, nullptr, nullptr, &state));
  SHOW(add(state, text(kKernel), "kernel"));
  SHOW(add(state, library, "library"));
  SHOW(cuLinkComplete(state, &linked, &bytes));
  std::printf("%s\n", bytes > 200000 ? "much" : "little");
  run(linked);
  NEED(cuLinkDestroy(state));
}

void files() {
  char path[] = "/tmp/driver_links.XXXXXX";
  const int fd = mkstemp(path);
  const std::string library = text(kLibrary);
  if (fd < 0 || write(fd, library.data(), library.size()) != ssize_t(library.size())) std::exit(3);
  close(fd);
  CUlinkState state = nullptr;
  void* linked = nullptr;
  NEED(cuLinkCreate(0, nullptr, nullptr, &state));
  SHOW(add(state, text(kKernel), nullptr));
  SHOW(cuLinkAddFile(state, CU_JIT_INPUT_PTX, path, 0, nullptr, nullptr));
  SHOW(cuLinkAddFile(state, CU_JIT_INPUT_PTX, "/nonexistent", 0, nullptr, nullptr));
  SHOW(cuLinkAddFile(state, CU_JIT_INPUT_PTX, nullptr, 0, nullptr, nullptr));
  unlink(path);
  SHOW(cuLinkComplete(state, &linked, nullptr));
  run(linked);
  NEED(cuLinkDestroy(state));
}

void logs() {
  std::vector<char> errors(4096, 'x'), infos(4096, 'x');
  CUjit_option names[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                          CU_JIT_INFO_LOG_BUFFER,  CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                          CU_JIT_LOG_VERBOSE,      CU_JIT_WALL_TIME};
  void* values[] = {errors.data(),
                    reinterpret_cast<void*>(errors.size()),
                    infos.data(),
                    reinterpret_cast<void*>(infos.size()),
                    reinterpret_cast<void*>(1),
                    nullptr};
  CUlinkState state = nullptr;
  SHOW(cuLinkCreate(6, names, values, &state));
  std::printf("at first: '%s' '%s', %zu and %zu bytes\n", errors.data(), infos.data(),
              reinterpret_cast<size_t>(values[1]), reinterpret_cast<size_t>(values[3]));
  SHOW(add(state, text(kKernel), "alone"));
  void* linked = nullptr;
  size_t bytes = 0;
  SHOW(cuLinkComplete(state, &linked, &bytes));  // the function is nowhere
  std::printf("%s, %s\n",
              std::strstr(errors.data(), "twice") != nullptr ? "the log names it" : errors.data(),
              reinterpret_cast<size_t>(values[1]) == std::strlen(errors.data())
                  ? "its length is told"
                  : "of another length");
  SHOW(cuLinkDestroy(state));

  // A log without room for more than its end.
  char end[8];
  std::memset(end, 'x', sizeof end);
  void* tight[] = {end, reinterpret_cast<void*>(4)};
  NEED(cuLinkCreate(2, names, tight, &state));
  (void)add(state, text(kKernel), "alone");
  SHOW(cuLinkComplete(state, &linked, &bytes));
  std::printf("%zu letters, then %s\n", std::strlen(end), end[4] == 'x' ? "nothing" : "more");
  NEED(cuLinkDestroy(state));

  // The same logs of a module.
  values[1] = reinterpret_cast<void*>(errors.size());
  values[3] = reinterpret_cast<void*>(infos.size());
  CUmodule module = nullptr;
  SHOW(cuModuleLoadDataEx(&module, "\n.version 7.8\n.target sm_75\nnonsense\n", 4, names, values));
  std::printf("%s\n",
              reinterpret_cast<size_t>(values[1]) == std::strlen(errors.data()) && errors[0] != '\0'
                  ? "a log of the length that is told"
                  : "no log");
}

void wrong() {
  CUlinkState state = nullptr;
  SHOW(cuLinkCreate(0, nullptr, nullptr, nullptr));
  SHOW(cuLinkCreate(1, nullptr, nullptr, &state));
  NEED(cuLinkCreate(0, nullptr, nullptr, &state));
  std::string garbage(300, 'g');
  const auto give = [&](CUjitInputType type, void* data, size_t bytes) {
    return cuLinkAddData(state, type, data, bytes, "garbage", 0, nullptr, nullptr);
  };
  SHOW(give(CU_JIT_INPUT_PTX, nullptr, 10));
  SHOW(give(CU_JIT_INPUT_PTX, garbage.data(), 0));
  SHOW(give(CU_JIT_INPUT_FATBINARY, garbage.data(), garbage.size()));
  SHOW(give(CU_JIT_INPUT_OBJECT, garbage.data(), garbage.size()));
  SHOW(give(CU_JIT_INPUT_LIBRARY, garbage.data(), garbage.size()));
  SHOW(give(CUjitInputType(99), garbage.data(), garbage.size()));
  void* linked = nullptr;
  SHOW(cuLinkComplete(state, nullptr, nullptr));
  SHOW(add(state, "not PTX at all", "prose"));
  const CUresult prose = cuLinkComplete(state, &linked, nullptr);
  std::printf("prose: %s\n", prose == CUDA_SUCCESS ? "linked" : "refused");
  NEED(cuLinkDestroy(state));
  SHOW(cuLinkDestroy(nullptr));
}

// Lines of the file, without the names of handles, which are different each time.
std::string read(const char* path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    for (size_t at; (at = line.find("0x")) != std::string::npos;) {
      size_t end = at + 2;
      while (end < line.size() && std::isxdigit(static_cast<unsigned char>(line[end]))) ++end;
      line.replace(at, end - at, "@");
    }
    lines.push_back(line);
  }
  std::sort(lines.begin(), lines.end());
  std::ostringstream all;
  for (const std::string& line : lines) all << line << "\n";
  return all.str();
}

void CUDA_CB nothing(void*) {}

void graph_as_text() {
  Ints values(4);
  CUcontext context = nullptr;
  NEED(cuCtxGetCurrent(&context));
  CUgraph graph = nullptr, inner = nullptr;
  NEED(cuGraphCreate(&graph, 0));
  NEED(cuGraphCreate(&inner, 0));
  CUgraphNode set = nullptr, host = nullptr, child = nullptr, empty = nullptr;
  CUDA_MEMSET_NODE_PARAMS fill = {values.at(), 0, 3, 4, 4, 1};
  CUDA_HOST_NODE_PARAMS call = {nothing, nullptr};
  NEED(cuGraphAddEmptyNode(&empty, inner, nullptr, 0));
  NEED(cuGraphAddMemsetNode(&set, graph, nullptr, 0, &fill, context));
  NEED(cuGraphAddHostNode(&host, graph, &set, 1, &call));
  NEED(cuGraphAddChildGraphNode(&child, graph, &host, 1, inner));
  char path[] = "/tmp/driver_links.XXXXXX";
  const int fd = mkstemp(path);
  if (fd < 0) std::exit(3);
  close(fd);
  SHOW(cuGraphDebugDotPrint(graph, path, 0));
  std::printf("%s", read(path).c_str());
  SHOW(cuGraphDebugDotPrint(graph, path, CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE));
  std::printf("%s", read(path).c_str());
  // More text than one message holds.
  for (int i = 0; i < 8000; ++i) NEED(cuGraphAddEmptyNode(&empty, graph, &set, 1));
  SHOW(cuGraphDebugDotPrint(graph, path, 0));
  const std::string all = read(path);
  std::printf("%td lines\n", std::count(all.begin(), all.end(), '\n'));
  unlink(path);
  SHOW(cuGraphDebugDotPrint(graph, "/nonexistent/graph.dot", 0));
  SHOW(cuGraphDebugDotPrint(graph, nullptr, 0));
  NEED(cuGraphDestroy(graph));
  NEED(cuGraphDestroy(inner));
  SHOW(cuGraphDebugDotPrint(nullptr, path, 0));
}

constexpr Scenario kScenarios[] = {
    {"link", link}, {"large", large}, {"files", files},
    {"logs", logs}, {"wrong", wrong}, {"graph_as_text", graph_as_text},
};

}  // namespace

int main(int argc, char** argv) { return run_scenario(argc, argv, kScenarios); }
