// Random PTX programs that mean the same to everyone: every register has a value before it is read,
// threads share memory only across barriers or by atomics whose order does not matter, and
// instructions with .sync name exactly the lanes that will come. Any node of a program can be taken
// away and the rest is still such a program, which is what makes shrinking easy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "softgpu/reference/program.h"

namespace farcall::softgpu::reference {

// text[0], the nodes of children[0], text[1], the nodes of children[1], ...
struct Node {
  std::vector<std::string> text;
  std::vector<std::vector<Node>> children;
};

struct GeneratedFunction {
  std::string head, tail;  // declarations and the first values; the results and the end
  std::vector<Node> body;
};

// One value that each thread leaves in its part of the output.
struct OutputSlot {
  uint32_t offset;
  Type type;  // floats may differ in the bits of a NaN
  std::string name;
};

struct GeneratedProgram {
  uint64_t seed = 0;
  uint32_t blocks = 1, threads = 32;
  std::string head;
  std::vector<GeneratedFunction> functions;  // the last one is the kernel "k"
  std::vector<OutputSlot> slots;

  std::string text() const;
};

// Parameters of the kernel, in this order: pointers to the outputs, to each thread's scratch
// memory, to the counters; and a number that is the same for all.
inline constexpr uint32_t kOutputBytes = 192, kScratchBytes = 64, kCounterBytes = 64;

GeneratedProgram generate(uint64_t seed);

}  // namespace farcall::softgpu::reference
