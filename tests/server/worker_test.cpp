// gpu-worker as a process: calls, order and waiting, errors, the client's and the worker's end. The
// fake driver (tests/fakes) has streams that hang until they are released, which real ones don't on
// demand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "rpc/testing.h"
#include "tests/server/gpu_session.h"

namespace farcall::server {
namespace {

using rpc::HandleId;
using rpc::HandleType;
using rpc::Opcode;
using rpc::testing::pattern;
using rpc::testing::RawFrames;
using testing::DaemonProcess;
using testing::eventually;
using testing::GpuSession;
using ::testing::HasSubstr;
using namespace std::chrono_literals;
namespace schema = rpc::schema;

constexpr int kInvalidValue = 1, kIllegalInstruction = 715, kInvalidHandle = 400,
              kNotSupported = 801, kInvalidImage = 200, kInvalidPtx = 218;

class WorkerTest : public ::testing::Test {
 protected:
  std::string fake_log() const {
    std::ifstream file(daemon.fake_driver_log());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  DaemonProcess daemon;
};

// --- Copies

TEST_F(WorkerTest, BytesComeBackAsTheyWentForAllSizes) {
  GpuSession gpu(daemon);
  for (const size_t bytes : {size_t{1}, size_t{4096}, size_t{65535}, size_t{65536}, size_t{1} << 20,
                             (size_t{5} << 20) + 3}) {
    const auto sent = pattern(bytes, unsigned(bytes));
    const uint64_t memory = gpu.alloc(bytes);
    gpu.copy_in(memory, sent);
    std::vector<std::byte> got(bytes);
    ASSERT_EQ(gpu.copy_out(got, memory), 0);
    EXPECT_TRUE(got == sent) << bytes;
    EXPECT_EQ(gpu.free(memory), 0);
  }
}

TEST_F(WorkerTest, StagedBytesStayUntilTheGpuHasReadThem) {
  GpuSession gpu(daemon);
  const HandleId stream = gpu.create_stream(), other = gpu.create_stream();
  constexpr size_t kBytes = 1 << 20;
  constexpr unsigned kCopies = 8;
  std::vector<uint64_t> memory;
  for (unsigned i = 0; i < kCopies; ++i) memory.push_back(gpu.alloc(kBytes));
  gpu.launch(gpu.kernel("hang"), stream);
  // The fake reads pinned memory when the stream goes on, so a chunk that was used again would
  // show.
  for (unsigned i = 0; i < kCopies; ++i) gpu.copy_in(memory[i], pattern(kBytes, i), stream);
  gpu.copy_in(gpu.alloc(kBytes), pattern(kBytes, 99), other);
  EXPECT_EQ(gpu.query(stream), 600);
  gpu.launch(gpu.kernel("release"), other);
  ASSERT_EQ(gpu.synchronize(stream), 0);
  for (unsigned i = 0; i < kCopies; ++i) {
    std::vector<std::byte> got(kBytes);
    ASSERT_EQ(gpu.copy_out(got, memory[i]), 0);
    EXPECT_TRUE(got == pattern(kBytes, i)) << i;
  }
  EXPECT_THAT(fake_log(), HasSubstr("cuMemcpyHtoDAsync_v2 1048576 pinned"));
}

TEST_F(WorkerTest, CopiesThatNobodyWaitsForArriveBeforeTheNextWaitEnds) {
  GpuSession gpu(daemon);
  const HandleId stream = gpu.create_stream();
  const size_t bytes = (size_t{3} << 20) + 5;
  const uint64_t memory = gpu.alloc(bytes);
  for (unsigned round = 0; round < 5; ++round) {
    const auto sent = pattern(bytes, round);
    gpu.copy_in(memory, sent, stream);
    std::vector<std::byte> got(bytes);
    gpu.copy_out_later(got, memory, stream);
    ASSERT_EQ(gpu.synchronize(stream), 0);
    EXPECT_TRUE(got == sent) << round;
  }
}

TEST_F(WorkerTest, ACopyInAHangingStreamHoldsUpNoOther) {
  GpuSession gpu(daemon);
  const HandleId hanging = gpu.create_stream(), other = gpu.create_stream();
  const auto sent = pattern(100);
  const uint64_t memory = gpu.alloc(100);
  gpu.copy_in(memory, sent);
  std::vector<std::byte> late(100), early(100);
  gpu.launch(gpu.kernel("hang"), hanging);
  gpu.copy_out_later(late, memory, hanging);
  gpu.copy_out_later(early, memory, other);
  ASSERT_EQ(gpu.synchronize(other), 0);
  EXPECT_TRUE(early == sent);
  EXPECT_FALSE(late == sent);
  gpu.launch(gpu.kernel("release"), other);
  ASSERT_EQ(gpu.synchronize(hanging), 0);
  EXPECT_TRUE(late == sent);
}

TEST_F(WorkerTest, WhatASynchronousCopyBroughtIsSeenByEveryStream) {
  const auto query_after_copy_behind_hanging_work = [&](bool ordered) {
    GpuSession gpu(daemon);
    const HandleId copying = gpu.create_stream(), other = gpu.create_stream();
    const uint64_t memory = gpu.alloc(4);
    gpu.launch(gpu.kernel("hang"), copying);
    gpu.copy_in(memory, pattern(4), copying, ordered);
    gpu.launch(gpu.kernel("bump"), other, memory);
    return gpu.query(other);
  };
  EXPECT_EQ(query_after_copy_behind_hanging_work(true), 600) << "it waits for the copy";
  EXPECT_EQ(query_after_copy_behind_hanging_work(false), 0) << "the copy's own stream's business";

  GpuSession gpu(daemon);
  const HandleId copying = gpu.create_stream(), other = gpu.create_stream();
  const uint64_t memory = gpu.alloc(4);
  const size_t before = fake_log().size();
  gpu.copy_in(memory, pattern(4), copying, true);
  gpu.launch(gpu.kernel("bump"), other, memory);
  EXPECT_EQ(gpu.synchronize(other), 0);
  EXPECT_EQ(fake_log().find("cuStreamWaitEvent", before), std::string::npos)
      << "nobody waits for a copy that is done";
}

TEST_F(WorkerTest, RowsGoAndComeBackPacked) {
  GpuSession gpu(daemon);
  constexpr uint64_t kWidth = 700, kHeight = 300, kDepth = 11, kPitch = 1024, kSliceRows = 310;
  const uint64_t memory = gpu.alloc(kPitch * kSliceRows * kDepth);
  const auto sent = pattern(kWidth * kHeight * kDepth);  // 2.3 MB: more than a chunk
  const auto describe = [&](rpc::CallWriter& call, uint64_t slice, uint64_t depth, bool to_device) {
    auto args = call.args<schema::FarcallMemcpyRows>();
    args.setDevice(memory + slice * kSliceRows * kPitch);
    args.setPitchBytes(kPitch);
    args.setSliceRows(kSliceRows);
    args.setWidthBytes(kWidth);
    args.setHeight(kHeight);
    args.setDepth(depth);
    args.setToDevice(to_device);
  };
  for (uint64_t slice = 0; slice < kDepth; ++slice) {
    rpc::CallWriter call(*gpu.connection, Opcode::k_farcallMemcpyRows, gpu.lane);
    describe(call, slice, 1, true);
    call.payload(std::span(sent).subspan(slice * kWidth * kHeight, kWidth * kHeight));
    ASSERT_EQ(call.post(), 0);
  }
  std::vector<std::byte> got(sent.size());
  {
    rpc::CallWriter call(*gpu.connection, Opcode::k_farcallMemcpyRows, gpu.lane);
    describe(call, 0, kDepth, false);
    ASSERT_EQ(call.wait({got.data(), got.size()}).result(), 0);
  }
  EXPECT_TRUE(got == sent);
  {
    rpc::CallWriter call(*gpu.connection, Opcode::k_farcallMemcpyRows, gpu.lane);
    describe(call, 0, 2, true);
    call.payload(std::span(sent).first(kWidth * kHeight));  // half of what it says
    EXPECT_EQ(call.wait().result(), kInvalidValue);
  }
}

// --- Order and waiting

TEST_F(WorkerTest, AWaitHoldsUpNoOtherThread) {
  GpuSession gpu(daemon);
  const HandleId stream = gpu.create_stream(), other = gpu.create_stream();
  const HandleId hang = gpu.kernel("hang"), release = gpu.kernel("release");
  for (int round = 0; round < 20; ++round) {
    gpu.launch(hang, stream);
    std::atomic<bool> done = false;
    std::thread waiting([&] {
      rpc::CallWriter call(*gpu.connection, Opcode::k_cuStreamSynchronize, {2, gpu.lane.context});
      call.args<schema::CuStreamSynchronize>().setHStream(stream);
      EXPECT_EQ(call.wait().result(), 0);
      done = true;
    });
    // Some of these come while the other thread waits in the driver.
    for (int i = 0; i < 10; ++i) EXPECT_EQ(gpu.query(stream), 600);
    EXPECT_FALSE(done);
    gpu.launch(release, other);
    EXPECT_EQ(gpu.synchronize(other), 0);
    waiting.join();
  }
}

TEST_F(WorkerTest, ManyThreadsMayWaitAtOnce) {
  GpuSession gpu(daemon);
  constexpr unsigned kThreads = 24;
  const HandleId hang = gpu.kernel("hang"), release = gpu.kernel("release");
  const HandleId other = gpu.create_stream();
  std::vector<HandleId> streams;
  for (unsigned i = 0; i < kThreads; ++i) {
    streams.push_back(gpu.create_stream());
    gpu.launch(hang, streams.back());
  }
  std::atomic<unsigned> done = 0;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      rpc::CallWriter call(*gpu.connection, Opcode::k_cuStreamSynchronize,
                           {10 + i, gpu.lane.context});
      call.args<schema::CuStreamSynchronize>().setHStream(streams[i]);
      EXPECT_EQ(call.wait().result(), 0);
      ++done;
    });
  }
  for (int i = 0; i < 50; ++i) EXPECT_EQ(gpu.query(streams[0]), 600);
  EXPECT_EQ(done, 0u);
  gpu.launch(release, other);
  EXPECT_EQ(gpu.synchronize(other), 0);
  for (std::thread& thread : threads) thread.join();
}

TEST_F(WorkerTest, CallsOfAllThreadsAreMadeInTheOrderOfTheirAppends) {
  GpuSession gpu(daemon);
  const uint64_t memory = gpu.alloc(4);
  const HandleId bump = gpu.kernel("bump");
  constexpr int kThreads = 4, kLaunches = 2000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kLaunches; ++i) {
        rpc::CallWriter call(*gpu.connection, Opcode::k_farcallLaunchKernel,
                             {uint32_t(2 + t), gpu.lane.context});
        auto args = call.args<schema::FarcallLaunchKernel>();
        args.setFunction(bump);
        args.setGridX(1);
        args.setBlockX(1);
        args.setParams(kj::arrayPtr(reinterpret_cast<const kj::byte*>(&memory), sizeof memory));
        EXPECT_EQ(i % 100 == 99 ? call.wait().result() : call.post(), 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint32_t value = 0;
  ASSERT_EQ(gpu.copy_out(std::as_writable_bytes(std::span(&value, 1)), memory), 0);
  EXPECT_EQ(value, uint32_t(kThreads * kLaunches));
}

TEST_F(WorkerTest, EachLaneHasItsCurrentContextAndItIsSetOnlyWhenItChanges) {
  GpuSession gpu(daemon);
  const HandleId bump = gpu.kernel("bump");
  const uint64_t memory = gpu.alloc(4);
  for (int i = 0; i < 100; ++i) gpu.launch(bump, 0, memory);
  gpu.lane = {2, rpc::primary_context_id(1)};
  gpu.alloc(4);
  gpu.lane = {1, rpc::primary_context_id(0)};
  gpu.alloc(4);
  gpu.lane = {3, 0};
  rpc::CallWriter call(*gpu.connection, Opcode::k_farcallMemAlloc, gpu.lane);
  call.args<schema::FarcallMemAlloc>().setWidthBytes(4);
  EXPECT_EQ(call.wait().result(), 201);  // CUDA_ERROR_INVALID_CONTEXT
  std::string set;
  std::istringstream lines(fake_log());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("cuCtxSetCurrent")) set += line.substr(15);
  }
  EXPECT_EQ(set, " 0 1 0 -1");
}

TEST_F(WorkerTest, OutputOfKernelsComesBeforeTheAnswerThatEndsTheWait) {
  GpuSession gpu(daemon);
  std::string printed;
  gpu.connection->set_output_handler([&](std::string_view text, bool is_stderr) {
    EXPECT_FALSE(is_stderr);
    printed += text;
  });
  const HandleId print = gpu.kernel("print");
  std::string expected;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 5000; ++i) {
      gpu.launch(print);
      expected += "printed by a kernel\n";
    }
    ASSERT_EQ(gpu.synchronize(0), 0);
    EXPECT_EQ(printed, expected);
  }
}

// --- Errors are data

TEST_F(WorkerTest, TheFirstAsynchronousFailureComesWithTheNextAnswer) {
  GpuSession gpu(daemon);
  gpu.copy_in(0x1000, pattern(16));        // no such memory
  gpu.launch(0xdead);                      // no such kernel, and not the first failure
  EXPECT_EQ(gpu.query(0), kInvalidValue);  // nothing else is wrong with this one
  EXPECT_EQ(gpu.query(0), 0);
}

TEST_F(WorkerTest, ATrapFailsTheWaitAndAllCallsAfterItAndTheWorkerStays) {
  GpuSession gpu(daemon), bystander(daemon);
  gpu.launch(gpu.kernel("trap"));
  EXPECT_EQ(gpu.synchronize(0), kIllegalInstruction);
  EXPECT_EQ(gpu.query(0), kIllegalInstruction);
  EXPECT_EQ(bystander.synchronize(0), 0);
  EXPECT_EQ(daemon.workers().size(), 2u);
  EXPECT_EQ(daemon.log_count("ended"), 0);
}

TEST_F(WorkerTest, HandlesAreCheckedForTypeGenerationAndSession) {
  GpuSession gpu(daemon), other(daemon);
  const HandleId stream = gpu.create_stream();
  const HandleId kernel = gpu.kernel("print");
  EXPECT_EQ(gpu.query(stream), 0);
  EXPECT_EQ(gpu.query(kernel), kInvalidHandle) << "wrong type";
  EXPECT_EQ(gpu.query(stream + (HandleId{1} << 32)), kInvalidHandle) << "another generation";
  EXPECT_EQ(gpu.query(rpc::make_handle_id(HandleType::kStream, 1, 0x7fffffff)), kInvalidHandle);
  EXPECT_EQ(gpu.query(~HandleId{0}), kInvalidHandle);
  EXPECT_EQ(other.query(stream), kInvalidHandle) << "of another session";
  EXPECT_EQ(gpu.destroy_stream(stream), 0);
  EXPECT_EQ(gpu.query(stream), kInvalidHandle) << "stale";
  EXPECT_EQ(gpu.destroy_stream(stream), kInvalidHandle);
  EXPECT_EQ(gpu.query(gpu.create_stream()), 0) << "and the session goes on";
}

TEST_F(WorkerTest, AnUnknownOpcodeIsNotSupportedAndTheSessionGoesOn) {
  GpuSession gpu(daemon);
  for (const unsigned opcode : {unsigned(rpc::kOpcodeCount), 40000u}) {
    rpc::CallWriter call(*gpu.connection, Opcode(opcode), gpu.lane);
    EXPECT_EQ(call.wait().result(), kNotSupported) << opcode;
  }
  EXPECT_EQ(gpu.query(0), 0);
}

TEST_F(WorkerTest, WithoutALibcudartTheRuntimesCallsAreNotSupported) {
  DaemonProcess without({"--cudart-dir", "/nonexistent"});
  GpuSession gpu(without);
  EXPECT_EQ(gpu.accepted.reader().getRuntimeVersion(), 0);
  EXPECT_THAT(gpu.accepted.reader().getRuntimeProblem().cStr(),
              HasSubstr("/nonexistent/libcudart.so.13"));
  for (int i = 0; i < 3; ++i) {
    rpc::CallWriter call(*gpu.connection, Opcode::k_cudaDeviceSynchronize, gpu.lane);
    EXPECT_EQ(call.wait().result(), kNotSupported);
  }
  EXPECT_EQ(gpu.query(0), 0);
  EXPECT_EQ(without.log_count("cudaDeviceSynchronize is not supported"), 1);
}

TEST_F(WorkerTest, NvidiasRuntimeIsLoadedForTheClientsMajorVersion) {
  GpuSession gpu(daemon);
  EXPECT_EQ(gpu.accepted.reader().getRuntimeVersion() / 1000, 13)
      << gpu.accepted.reader().getRuntimeProblem().cStr();
}

// --- Broken clients

class BrokenClientTest : public WorkerTest {
 protected:
  // Says hello, sends the bytes; gives what the server answers until it closes.
  std::string answer_to(const std::vector<std::byte>& bytes) {
    auto channel = daemon.connect();
    rpc::HelloAnswer hello = testing::say_hello(*channel);
    EXPECT_TRUE(hello.accepted()) << hello.problem;
    EXPECT_EQ(transport::send_bytes(*channel, bytes), Status::kOk);
    std::string answer;
    for (;;) {
      std::byte buffer[4096];
      const auto got = channel->receive(buffer, Deadline::after(10s));
      if (!got) {
        EXPECT_EQ(got.status(), Status::kDisconnected);
        return answer;
      }
      answer.append(reinterpret_cast<const char*>(buffer), *got);
    }
  }
  // The worker said so to the client and to the log, once, and is gone; others can come.
  void expect_ended_with(const std::string& answer, const std::string& sentence) {
    EXPECT_THAT(answer, HasSubstr(sentence));
    EXPECT_TRUE(daemon.log_has(sentence));
    EXPECT_TRUE(daemon.workers_become(0));
    EXPECT_EQ(daemon.log_count(sentence), 1);
    GpuSession next(daemon);
    EXPECT_EQ(next.query(0), 0);
  }
};

TEST_F(BrokenClientTest, AnOversizedFrameEndsTheSessionWithASentence) {
  expect_ended_with(
      answer_to(RawFrames().header(0x7fffffff, rpc::kFirstOpcode, rpc::kWantsReply).bytes()),
      "2147483647");
}

TEST_F(BrokenClientTest, AnUnknownControlFrameEndsTheSessionWithASentence) {
  expect_ended_with(answer_to(RawFrames().header(0, 9, 0).bytes()), "an unknown control frame 9");
}

TEST_F(BrokenClientTest, AMessageThatDoesNotDecodeEndsTheSessionWithASentence) {
  // A root pointer far outside of the message.
  const auto frame = RawFrames()
                         .header(1, uint16_t(Opcode::k_farcallMemAlloc), rpc::kWantsReply)
                         .put(uint64_t{0x0001'0001'7fff'fff0})
                         .bytes();
  expect_ended_with(answer_to(frame), "farcallMemAlloc does not decode");
}

TEST_F(BrokenClientTest, ATruncatedFrameJustEndsTheSession) {
  auto channel = daemon.connect();
  ASSERT_TRUE(testing::say_hello(*channel).accepted());
  auto bytes = RawFrames().header(100, rpc::kFirstOpcode, 0).put(uint64_t{0}).bytes();
  ASSERT_EQ(transport::send_bytes(*channel, bytes), Status::kOk);
  channel.reset();
  EXPECT_TRUE(daemon.workers_become(0));
  EXPECT_TRUE(daemon.log_has("the connection ended within a frame"));
}

TEST_F(BrokenClientTest, RandomFramesEndTheSessionAndNothingElse) {
  GpuSession bystander(daemon);
  for (unsigned seed = 1; seed <= 20; ++seed) {
    auto channel = daemon.connect();
    ASSERT_TRUE(testing::say_hello(*channel).accepted());
    (void)transport::send_bytes(*channel, pattern(10'000, seed));
  }
  EXPECT_TRUE(daemon.workers_become(1));
  EXPECT_EQ(daemon.log_count("was killed by signal"), 0);
  EXPECT_EQ(bystander.query(0), 0);
}

TEST_F(BrokenClientTest, ASecondObjectUnderALiveIdEndsTheSession) {
  GpuSession gpu(daemon);
  const HandleId stream = gpu.create_stream();
  rpc::CallWriter call(*gpu.connection, Opcode::k_cuStreamCreate, gpu.lane);
  call.args<schema::CuStreamCreate>().setPhStream(stream);
  EXPECT_EQ(call.wait().result(), rpc::kSessionLostResult);
  EXPECT_TRUE(daemon.log_has("which is in use"));
  EXPECT_TRUE(daemon.workers_become(0));
}

// --- Code

TEST_F(WorkerTest, ErrorsInPtxComeBackWithTheCompilersLog) {
  GpuSession gpu(daemon);
  const std::string_view text = "this is bad";
  rpc::CallWriter call(*gpu.connection, Opcode::k_farcallModuleLoad, gpu.lane);
  auto args = call.args<schema::FarcallModuleLoad>();
  args.setKind(schema::ImageKind::PTX);
  args.setModule(gpu.mint(HandleType::kModule));
  args.setErrorLogBytes(1000);
  auto options = args.initOptions(2);
  options[0].setId(7);  // CU_JIT_OPTIMIZATION_LEVEL
  options[0].setValue(3);
  options[1].setId(5);  // CU_JIT_ERROR_LOG_BUFFER: an address of the client's; must not be believed
  options[1].setValue(0x1234);
  call.payload(std::as_bytes(std::span(text)));
  rpc::Reply reply = call.wait();
  EXPECT_EQ(reply.result(), kInvalidPtx);
  EXPECT_STREQ(reply.results<schema::FarcallModuleLoadResults>().getErrorLog().cStr(),
               "line 1: bad");
}

class ImageTest : public WorkerTest {
 protected:
  // A container without entries, and after it `more` bytes that no header counts.
  static std::vector<std::byte> container(size_t padding = 0) {
    struct {
      uint32_t magic = 0xba55ed50;
      uint16_t version = 1, header_bytes = 16;
      uint64_t bytes;
    } header{.bytes = padding};
    std::vector<std::byte> out(sizeof header + padding);
    std::memcpy(out.data(), &header, sizeof header);
    return out;
  }
  static int load(GpuSession& gpu, std::span<const std::byte> bytes, uint32_t containers) {
    rpc::CallWriter call(*gpu.connection, Opcode::k_farcallModuleLoad, gpu.lane);
    auto args = call.args<schema::FarcallModuleLoad>();
    args.setKind(schema::ImageKind::FATBIN);
    args.setModule(gpu.mint(HandleType::kLibrary));
    args.setContainers(containers);
    call.payload(bytes);
    return call.wait().result();
  }
  static int load_stored(GpuSession& gpu, const std::vector<std::byte>& sha256) {
    rpc::CallWriter call(*gpu.connection, Opcode::k_farcallModuleLoad, gpu.lane);
    auto args = call.args<schema::FarcallModuleLoad>();
    args.setSha256(as_data(sha256));
    args.setKind(schema::ImageKind::PTX);
    args.setModule(gpu.mint(HandleType::kModule));
    return call.wait().result();
  }
  static bool held(GpuSession& gpu, const std::vector<std::byte>& sha256, size_t bytes) {
    rpc::CallWriter call(*gpu.connection, Opcode::k_farcallImageOffer, gpu.lane);
    auto args = call.args<schema::FarcallImageOffer>();
    args.setSha256(as_data(sha256));
    args.setBytes(bytes);
    rpc::Reply reply = call.wait();
    EXPECT_EQ(reply.result(), 0);
    return reply.results<schema::FarcallImageOfferResults>().getHeld();
  }
  static int send(GpuSession& gpu, const std::vector<std::byte>& sha256,
                  std::span<const std::byte> image) {
    int result = 0;
    for (size_t offset = 0; offset < image.size(); offset += rpc::kPayloadBytesMax) {
      rpc::CallWriter call(*gpu.connection, Opcode::k_farcallImageChunk, gpu.lane);
      auto args = call.args<schema::FarcallImageChunk>();
      args.setSha256(as_data(sha256));
      args.setBytes(image.size());
      args.setOffset(offset);
      call.payload(image.subspan(offset, std::min(rpc::kPayloadBytesMax, image.size() - offset)));
      result = call.wait().result();
    }
    return result;
  }
  static capnp::Data::Reader as_data(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()};
  }
  // Of 2.5 MiB of 'g', computed with sha256sum(1).
  static std::vector<std::byte> digest(const char* hex) {
    std::vector<std::byte> out;
    for (; *hex != 0; hex += 2) {
      out.push_back(std::byte(std::stoi(std::string(hex, 2), nullptr, 16)));
    }
    return out;
  }
};

TEST_F(ImageTest, ContainersGetNvccsWrapperAroundThem) {
  GpuSession gpu(daemon);
  auto one = container();
  EXPECT_EQ(load(gpu, one, 1), 0);
  EXPECT_THAT(fake_log(), HasSubstr("wrapper version 1, 0 linked"));
  auto three = container();  // the linked whole, then its parts
  for (int i = 0; i < 2; ++i) three.insert(three.end(), one.begin(), one.end());
  EXPECT_EQ(load(gpu, three, 3), 0);
  EXPECT_THAT(fake_log(), HasSubstr("wrapper version 2, 2 linked"));
}

TEST_F(ImageTest, ContainersThatLieAreInvalid) {
  GpuSession gpu(daemon);
  EXPECT_EQ(load(gpu, container(), 2), kInvalidImage) << "fewer than it says";
  EXPECT_EQ(load(gpu, container(), 0), kInvalidImage);
  auto beyond = container(64);
  beyond.resize(40);
  EXPECT_EQ(load(gpu, beyond, 1), kInvalidImage) << "its header counts more than there is";
  EXPECT_EQ(load(gpu, pattern(100), 1), kInvalidImage);
  EXPECT_EQ(load(gpu, {}, 1), kInvalidImage);
  EXPECT_EQ(gpu.query(0), 0);
}

TEST_F(ImageTest, AnUploadedImageIsHeldForEverySession) {
  std::vector<std::byte> image(size_t{5} << 19, std::byte{'g'});
  const auto sha256 = digest("97a70897627dde764b1dde051d52471ef98cc17cfcd0ac8fe0abeb0c6d473d84");
  {
    GpuSession gpu(daemon);
    EXPECT_FALSE(held(gpu, sha256, image.size()));
    EXPECT_EQ(load_stored(gpu, sha256), kInvalidImage) << "not there yet";
    EXPECT_EQ(send(gpu, sha256, image), 0);
    EXPECT_TRUE(held(gpu, sha256, image.size()));
    EXPECT_FALSE(held(gpu, sha256, image.size() + 1)) << "of this size there is none";
    EXPECT_EQ(load_stored(gpu, sha256), 0);
  }
  GpuSession other(daemon);
  EXPECT_TRUE(held(other, sha256, image.size()));
  EXPECT_EQ(load_stored(other, sha256), 0);
}

TEST_F(ImageTest, AnUploadWithAnotherHashIsRefused) {
  std::vector<std::byte> image(size_t{5} << 19, std::byte{'h'});
  const auto sha256 = digest("97a70897627dde764b1dde051d52471ef98cc17cfcd0ac8fe0abeb0c6d473d84");
  GpuSession gpu(daemon);
  EXPECT_EQ(send(gpu, sha256, image), kInvalidImage);
  EXPECT_FALSE(held(gpu, sha256, image.size()));
  EXPECT_EQ(load_stored(gpu, sha256), kInvalidImage);
}

// --- Ends

TEST_F(WorkerTest, AGoodbyeEndsTheSession) {
  {
    GpuSession gpu(daemon);
    gpu.alloc(100);
    gpu.connection->say_goodbye();
  }
  EXPECT_TRUE(daemon.workers_become(0));
  EXPECT_TRUE(daemon.log_has("1 calls: the client said goodbye; client: server_test (pid "));
}

TEST_F(WorkerTest, AClientThatVanishesDuringACallLeavesNothingBehind) {
  GpuSession before(daemon);
  const size_t descriptors = daemon.descriptors();
  {
    auto channel = daemon.connect();
    ASSERT_TRUE(testing::say_hello(*channel).accepted());
    ASSERT_TRUE(daemon.workers_become(2));
  }
  {
    GpuSession gpu(daemon);
    const HandleId stream = gpu.create_stream();
    gpu.launch(gpu.kernel("hang"), stream);
    std::thread waiting([&] { EXPECT_EQ(gpu.synchronize(stream), rpc::kSessionLostResult); });
    std::this_thread::sleep_for(100ms);
    gpu.connection->lose("the test cuts the connection");
    waiting.join();
  }
  EXPECT_TRUE(daemon.workers_become(1, 5s));
  EXPECT_TRUE(daemon.log_has("the client went away"));
  EXPECT_TRUE(eventually([&] { return daemon.descriptors() == descriptors; }));
  EXPECT_EQ(before.query(0), 0);
}

TEST_F(WorkerTest, AKilledWorkerEndsItsSessionOnlyAndIsLoggedOnce) {
  GpuSession bystander(daemon);
  const auto bystanders = daemon.workers();
  GpuSession gpu(daemon);
  pid_t victim = 0;
  for (const pid_t worker : daemon.workers()) {
    if (worker != bystanders.front()) victim = worker;
  }
  ASSERT_GT(victim, 0);
  const HandleId stream = gpu.create_stream();
  gpu.launch(gpu.kernel("hang"), stream);
  std::atomic<uint64_t> told = 0;
  std::thread waiting([&] {
    EXPECT_EQ(gpu.synchronize(stream), rpc::kSessionLostResult);
    told = now_ns();
  });
  std::this_thread::sleep_for(50ms);
  const uint64_t killed = now_ns();
  ::kill(victim, SIGKILL);
  waiting.join();
  EXPECT_LT(told - killed, 1'000'000'000u);
  EXPECT_TRUE(daemon.log_has("was killed by signal 9"));
  EXPECT_EQ(daemon.log_count("was killed by signal"), 1);
  EXPECT_EQ(bystander.query(0), 0);
}

TEST_F(WorkerTest, ACrashInTheDriverIsLoggedWithItsSignal) {
  GpuSession gpu(daemon);
  gpu.launch(gpu.kernel("crash"));
  EXPECT_EQ(gpu.synchronize(0), rpc::kSessionLostResult);
  EXPECT_TRUE(daemon.log_has("was killed by signal 6"));
}

TEST_F(WorkerTest, InheritsItsConnectionItsPageAndStderrAndNothingElse) {
  GpuSession other(daemon), gpu(daemon);
  for (const pid_t worker : daemon.workers()) {
    std::set<std::string> targets;
    int sockets = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(worker) + "/fd")) {
      std::error_code ignored;
      const std::string target = std::filesystem::read_symlink(entry, ignored).string();
      if (target.starts_with("socket:")) ++sockets;
      targets.insert(target);
    }
    EXPECT_EQ(sockets, 1) << ::testing::PrintToString(targets);
    EXPECT_EQ(::getpgid(worker), worker);
  }
}

}  // namespace
}  // namespace farcall::server
