#include "softgpu/reference/random_programs.h"

#include <cstring>
#include <random>
#include <stdexcept>
#include <string>

#include "softgpu/exec/test_device.h"
#include "softgpu/reference/machine.h"

namespace farcall::softgpu::reference {
namespace {

struct Buffers {
  std::vector<uint8_t> out, scratch, counters;
};

// What memory holds before the run.
Buffers initial(const GeneratedProgram& program) {
  const size_t threads = size_t{program.blocks} * program.threads;
  Buffers b;
  b.out.assign(threads * kOutputBytes, 0xcd);
  std::mt19937 random(static_cast<uint32_t>(program.seed));
  // Words of a few kinds, so that comparisons and matches meet.
  static constexpr uint32_t kWords[] = {0,           1,           0xffff'ffff,
                                        0x8000'0000, 0x3f80'0000, 0x7f80'0000,
                                        0x0000'0001, 0x3c00'c000, 0x0000'7fff};
  for (size_t i = 0; i < threads * kScratchBytes / 4; ++i) {
    const uint32_t dice = random(),
                   word = dice % 3 == 0 ? kWords[dice / 3 % 9] : random() >> (dice % 29);
    const auto* const bytes = reinterpret_cast<const uint8_t*>(&word);
    b.scratch.insert(b.scratch.end(), bytes, bytes + 4);
  }
  b.counters.assign(kCounterBytes, 0x11);
  return b;
}

constexpr uint32_t kUniform = 3;  // the kernel's parameter n

void run_on_reference(const GeneratedProgram& program, const std::string& text,
                      const uint64_t* addresses, Buffers& buffers) {
  const Program parsed = parse_program(text);
  Machine machine(parsed);
  machine.add_memory(addresses[0], buffers.out);
  machine.add_memory(addresses[1], buffers.scratch);
  machine.add_memory(addresses[2], buffers.counters);
  std::vector<uint8_t> params(28);
  std::memcpy(params.data(), addresses, 24);
  std::memcpy(params.data() + 24, &kUniform, 4);
  machine.run("k", params, program.blocks, program.threads);
  auto take = [&](uint64_t address, std::vector<uint8_t>& to) {
    const auto bytes = machine.memory(address);
    to.assign(bytes.begin(), bytes.end());
  };
  take(addresses[0], buffers.out);
  take(addresses[1], buffers.scratch);
  take(addresses[2], buffers.counters);
}

bool same_slot(const OutputSlot& slot, const uint8_t* a, const uint8_t* b) {
  uint64_t x = 0, y = 0;
  const auto bytes = static_cast<size_t>(slot.type.total() / 8);
  std::memcpy(&x, a, bytes);
  std::memcpy(&y, b, bytes);
  if (x == y) return true;
  if (!slot.type.is_float()) return false;
  const FloatFormat f = slot.type.kind == 'h'  ? kBfloat
                        : slot.type.bits == 16 ? kHalf
                        : slot.type.bits == 32 ? kSingle
                                               : kDouble;
  for (int lane = 0; lane < slot.type.lanes; ++lane) {
    const uint64_t mask = f.bits() == 64 ? ~uint64_t{0} : (uint64_t{1} << f.bits()) - 1;
    const uint64_t u = x >> (16 * lane) & mask, v = y >> (16 * lane) & mask;
    if (u != v && !(is_nan(u, f) && is_nan(v, f))) return false;
  }
  return true;
}

std::string hex(const uint8_t* bytes, size_t count) {
  uint64_t v = 0;
  std::memcpy(&v, bytes, count);
  char text[24];
  std::snprintf(text, sizeof text, "0x%0*llx", static_cast<int>(2 * count),
                static_cast<unsigned long long>(v));
  return text;
}

// What differs first; empty: nothing.
std::string compare_buffers(const GeneratedProgram& program, const Buffers& engine,
                            const Buffers& reference) {
  for (size_t thread = 0; thread * kOutputBytes < engine.out.size(); ++thread) {
    for (const OutputSlot& slot : program.slots) {
      const size_t at = thread * kOutputBytes + slot.offset;
      if (same_slot(slot, &engine.out[at], &reference.out[at])) continue;
      const auto bytes = static_cast<size_t>(slot.type.total() / 8);
      return "thread " + std::to_string(thread) + ", " + slot.name + ": engine " +
             hex(&engine.out[at], bytes) + ", reference " + hex(&reference.out[at], bytes);
    }
  }
  for (size_t i = 0; i < engine.scratch.size(); ++i) {
    if (engine.scratch[i] != reference.scratch[i])
      return "thread " + std::to_string(i / kScratchBytes) + ", byte " +
             std::to_string(i % kScratchBytes) + " of its global memory: engine " +
             hex(&engine.scratch[i], 1) + ", reference " + hex(&reference.scratch[i], 1);
  }
  for (size_t i = 0; i < kCounterBytes; ++i) {
    if (engine.counters[i] != reference.counters[i])
      return "counter " + std::to_string(i / 8) + ", byte " + std::to_string(i % 8);
  }
  return {};
}

}  // namespace

Outcome run_on_both(const GeneratedProgram& program) {
  static TestDevice device(1);
  const std::string text = program.text();
  Buffers reference = initial(program), engine = reference;
  LoadError error{};
  const std::string_view view = text;
  const auto loaded = device.engine->load({&view, 1}, &error);
  const Kernel* const kernel = loaded ? loaded->kernel("k", &error) : nullptr;
  if (kernel == nullptr) {
    const bool unsupported = error.kind == LoadError::Kind::kUnsupported;
    return {unsupported ? Verdict::kUnsupported : Verdict::kDiffer, "refused: " + error.message};
  }
  const auto out = device.upload(engine.out), scratch = device.upload(engine.scratch),
             counters = device.upload(engine.counters);
  const uint64_t addresses[] = {reinterpret_cast<uint64_t>(out.data()),
                                reinterpret_cast<uint64_t>(scratch.data()),
                                reinterpret_cast<uint64_t>(counters.data())};
  Outcome outcome{Verdict::kAgree, {}};
  try {
    run_on_reference(program, text, addresses, reference);
    const Params params(out.data(), scratch.data(), counters.data(), kUniform);
    Launch launch;
    launch.kernel = kernel;
    launch.grid = {program.blocks};
    launch.block = {program.threads};
    launch.params = params.span();
    if (const auto fault = device.engine->launch(launch)) {
      outcome.detail = "the engine's kernel ends with " + fault->message;
      // A function that only a pointer reaches is refused when it is called.
      if (fault->message.find("unsupported instruction") != std::string::npos)
        outcome.verdict = Verdict::kUnsupported;
    } else {
      engine.out.assign(out.begin(), out.end());
      engine.scratch.assign(scratch.begin(), scratch.end());
      engine.counters.assign(counters.begin(), counters.end());
      outcome.detail = compare_buffers(program, engine, reference);
    }
    if (!outcome.detail.empty() && outcome.verdict == Verdict::kAgree)
      outcome.verdict = Verdict::kDiffer;
  } catch (const TooLong&) {
    outcome.verdict = Verdict::kTooLong;
  } catch (const std::exception& problem) {
    outcome = {Verdict::kInvalid, problem.what()};
  }
  for (void* memory : {static_cast<void*>(out.data()), static_cast<void*>(scratch.data()),
                       static_cast<void*>(counters.data())})
    device.memory.deallocate(memory);
  return outcome;
}

namespace {

bool differs(const GeneratedProgram& program) {
  return run_on_both(program).verdict == Verdict::kDiffer;
}

// Takes nodes away, larger pieces first. True: something went.
bool shrink_nodes(GeneratedProgram& program, std::vector<Node>& nodes) {
  bool any = false;
  for (size_t piece = nodes.size(); piece >= 1; piece /= 2) {
    for (size_t at = 0; at < nodes.size();) {
      const auto begin = nodes.begin() + static_cast<std::ptrdiff_t>(at);
      const auto end =
          nodes.begin() + static_cast<std::ptrdiff_t>(std::min(nodes.size(), at + piece));
      const std::vector<Node> kept(begin, end);
      nodes.erase(begin, end);
      if (differs(program)) {
        any = true;
        continue;
      }
      nodes.insert(nodes.begin() + static_cast<std::ptrdiff_t>(at), kept.begin(), kept.end());
      at += piece;
    }
  }
  for (Node& node : nodes) {
    for (auto& children : node.children) any = shrink_nodes(program, children) || any;
  }
  return any;
}

}  // namespace

GeneratedProgram shrink(const GeneratedProgram& program) {
  GeneratedProgram small = program;
  for (const uint32_t threads : {1u, 2u, 32u}) {
    GeneratedProgram fewer = small;
    fewer.blocks = 1;
    fewer.threads = threads;
    if (threads < small.threads && differs(fewer)) {
      small = fewer;
      break;
    }
  }
  for (bool any = true; any;) {
    any = false;
    for (size_t f = small.functions.size(); f-- > 0;)
      any = shrink_nodes(small, small.functions[f].body) || any;
  }
  return small;
}

Outcome check_seed(uint64_t seed) {
  const GeneratedProgram program = generate(seed);
  Outcome outcome = run_on_both(program);
  if (outcome.verdict == Verdict::kInvalid)
    outcome.detail = "seed " + std::to_string(seed) + ": " + outcome.detail + "\n" + program.text();
  if (outcome.verdict != Verdict::kDiffer) return outcome;
  const GeneratedProgram small = shrink(program);
  outcome.detail = "seed " + std::to_string(seed) + ", " + std::to_string(small.blocks) +
                   " blocks of " + std::to_string(small.threads) +
                   " threads: " + run_on_both(small).detail + "\n" + small.text();
  return outcome;
}

}  // namespace farcall::softgpu::reference
