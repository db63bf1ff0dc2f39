// Graphs that may hold copies with the program's host memory: capturing such a copy, instantiating,
// updating and launching the graph, and the bytes before and after a launch. What the rest of the
// graph APIs do has generated handlers. See server/captured_copies.h.
#include <cuda.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/unique_fd.h"
#include "rpc/schema/calls.capnp.h"
#include "server/call_context.h"
#include "server/dispatch_args.h"
#include "server/handlers.h"
#include "server/relaxed_capture.h"
#include "server/worker.h"

namespace farcall::server::handlers {
namespace {

namespace schema = rpc::schema;
using rpc::HandleType;

template <class Results>
void put_copies(Results results, const std::vector<CapturedCopyRef>& copies) {
  auto list = results.initCopies(unsigned(copies.size()));
  for (unsigned i = 0; i < copies.size(); ++i) list.set(i, copies[i]->id);
}

}  // namespace

void farcallCaptureCopy(CallContext& call) {
  const auto args = call.args<schema::FarcallCaptureCopy>();
  const auto stream = call.handle<CUstream>(args.getStream(), HandleType::kStream);
  if (!call.wants_reply()) call.invalidate("nobody waits to hear whether it was captured");
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuMemcpyHtoDAsync_v2 == nullptr || driver.cuMemcpyDtoHAsync_v2 == nullptr) {
    return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  }
  CapturedCopies& copies = call.worker().captured_copies();
  int result = CUDA_SUCCESS;
  const bool captures = CapturedCopies::capturing(driver, stream);
  if (captures) {
    Status broken = Status::kOk;
    result = copies.capture(args.getCopy(), args.getDevice(), args.getBytes(), args.getToDevice(),
                            stream, &broken);
    if (broken != Status::kOk) {
      call.worker().violation("the id of a captured copy is in use, or none");
    }
  }
  auto results = call.results<schema::FarcallCaptureCopyResults>();
  results.setCaptured(captures);
  const std::vector<uint64_t> gone = copies.take_gone();
  auto list = results.initGone(unsigned(gone.size()));
  for (unsigned i = 0; i < gone.size(); ++i) list.set(i, gone[i]);
  call.finish(result);
}

void farcallGraphInstantiate(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphInstantiate>();
  const auto graph = call.handle<CUgraph>(args.getGraph(), HandleType::kGraph);
  const uint64_t flags = args.getFlags();
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphInstantiateWithFlags == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CapturedCopies& captured = call.worker().captured_copies();
  GraphCopySet copies;
  if (graph != nullptr) {
    if (const CUresult failed = captured.find(graph, &copies)) return call.finish(failed);
  }
  // A launch by a kernel would go past us and the client.
  if (!copies.all.empty() && (flags & CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH) != 0) {
    return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  }
  CUgraphExec exec = nullptr;
  CUDA_GRAPH_INSTANTIATE_PARAMS params = {};
  params.flags = flags;
  CUresult result;
  if (driver.cuGraphInstantiateWithParams != nullptr) {
    result = driver.cuGraphInstantiateWithParams(&exec, graph, &params);
  } else {
    result = driver.cuGraphInstantiateWithFlags(&exec, graph, flags);
  }
  if (result == CUDA_SUCCESS) call.bind(args.getExec(), HandleType::kGraphExec, exec);
  if (call.wants_reply()) {
    auto results = call.results<schema::FarcallGraphInstantiateResults>();
    results.setOutcome(int(params.result_out));
    results.setErrorNode(intern(call, HandleType::kGraphNode, params.hErrNode_out));
    if (result == CUDA_SUCCESS) put_copies(results, copies.all);
  }
  if (result == CUDA_SUCCESS) captured.set_copies(args.getExec(), std::move(copies));
  call.finish(result);
}

void farcallGraphExecUpdate(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphExecUpdate>();
  const auto exec = call.handle<CUgraphExec>(args.getExec(), HandleType::kGraphExec);
  const auto graph = call.handle<CUgraph>(args.getGraph(), HandleType::kGraph);
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphExecUpdate_v2 == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CapturedCopies& captured = call.worker().captured_copies();
  GraphCopySet copies;
  if (graph != nullptr) {
    if (const CUresult failed = captured.find(graph, &copies)) return call.finish(failed);
  }
  CUgraphExecUpdateResultInfo info = {};
  const CUresult result = driver.cuGraphExecUpdate_v2(exec, graph, &info);
  if (call.wants_reply()) {
    auto results = call.results<schema::FarcallGraphExecUpdateResults>();
    results.setResult(int(info.result));
    results.setErrorNode(intern(call, HandleType::kGraphNode, info.errorNode));
    results.setErrorFromNode(intern(call, HandleType::kGraphNode, info.errorFromNode));
    if (result == CUDA_SUCCESS) put_copies(results, copies.all);
  }
  if (result == CUDA_SUCCESS) captured.set_copies(args.getExec(), std::move(copies));
  call.finish(result);
}

void farcallGraphLaunch(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphLaunch>();
  const auto exec = call.handle<CUgraphExec>(args.getExec(), HandleType::kGraphExec);
  const auto stream = call.handle<CUstream>(args.getStream(), HandleType::kStream);
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphLaunch == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  CapturedCopies& captured = call.worker().captured_copies();
  if (!captured.has_copies(args.getExec())) return call.finish(driver.cuGraphLaunch(exec, stream));
  // It would become a part of another graph, under which nobody looks for copies.
  const CUresult result = CapturedCopies::capturing(driver, stream)
                              ? CUDA_ERROR_NOT_SUPPORTED
                              : driver.cuGraphLaunch(exec, stream);
  call.finish(captured.note_launch(args.getExec(), stream, result));
}

void farcallGraphInput(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphInput>();
  CapturedCopies& captured = call.worker().captured_copies();
  const CapturedCopyRef copy = captured.find_copy(args.getExec(), args.getCopy());
  const std::span<const std::byte> bytes = call.payload();
  const uint64_t offset = args.getOffset();
  if (copy == nullptr || !copy->to_device) {
    call.invalidate("the graph has no such copy to the device");
  } else if (offset > copy->bytes || bytes.size() > copy->bytes - offset) {
    call.invalidate("more bytes than the captured copy has");
  }
  if (!call.valid()) return call.refuse();
  call.finish(captured.write(*copy, offset, bytes));
}

void farcallGraphOutput(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphOutput>();
  const auto stream = call.handle<CUstream>(args.getStream(), HandleType::kStream);
  CapturedCopies& captured = call.worker().captured_copies();
  const CapturedCopyRef copy = captured.find_copy(args.getExec(), args.getCopy());
  uint64_t offset = args.getOffset(), bytes = args.getBytes();
  if (copy == nullptr || copy->to_device) {
    call.invalidate("the graph has no such copy to the host");
  } else {
    if (bytes == 0) bytes = copy->bytes - std::min<uint64_t>(offset, copy->bytes);
    if (offset > copy->bytes || bytes > copy->bytes - offset) {
      call.invalidate("more bytes than the captured copy has");
    }
  }
  if (!call.valid()) return call.refuse();
  // What is in the buffer is of an earlier launch, or of none.
  if (const CUresult failed = captured.last_launch(args.getExec())) return call.finish(failed);

  Worker& worker = call.worker();
  if (!call.wants_reply()) {
    return call.finish(worker.pending_copies().add(
        {call.sequence(), uint16_t(call.opcode()), 0, copy->buffer + offset, bytes, copy}, stream));
  }
  CopyEvent event;
  CUresult result = worker.staging().record(stream, &event);
  if (result != CUDA_SUCCESS) return call.finish(result);
  {
    const RelaxedCapture relaxed(call.driver());
    result = call.driver().cuEventSynchronize(event.event);
  }
  worker.staging().release_event(event);
  if (result == CUDA_SUCCESS) call.send_data(0, {copy->buffer + offset, bytes});
  call.finish(result);
}

// The driver writes to a file without a name.
void farcallGraphDotPrint(CallContext& call) {
  const auto args = call.args<schema::FarcallGraphDotPrint>();
  const auto graph = call.handle<CUgraph>(args.getGraph(), HandleType::kGraph);
  if (!call.valid()) return call.refuse();
  const DriverTable& driver = call.driver();
  if (driver.cuGraphDebugDotPrint == nullptr) return call.finish(CUDA_ERROR_NOT_SUPPORTED);
  const UniqueFd file(memfd_create("graph", MFD_CLOEXEC));
  if (!file) return call.finish(CUDA_ERROR_OPERATING_SYSTEM);
  const std::string path = fmt::format("/proc/self/fd/{}", file.get());
  const CUresult result = driver.cuGraphDebugDotPrint(graph, path.c_str(), args.getFlags());
  if (result == CUDA_SUCCESS && call.wants_reply()) {
    struct stat about = {};
    if (fstat(file.get(), &about) != 0) return call.finish(CUDA_ERROR_OPERATING_SYSTEM);
    const uint64_t bytes = uint64_t(about.st_size);
    const uint64_t offset = std::min(args.getOffset(), bytes);
    auto results = call.results<schema::FarcallGraphDotPrintResults>();
    results.setBytes(bytes);
    auto text = results.initText(unsigned(std::min<uint64_t>(bytes - offset, kArrayBytesMax)));
    if (pread(file.get(), text.begin(), text.size(), off_t(offset)) != ssize_t(text.size()))
      return call.finish(CUDA_ERROR_OPERATING_SYSTEM);
  }
  call.finish(result);
}

}  // namespace farcall::server::handlers
