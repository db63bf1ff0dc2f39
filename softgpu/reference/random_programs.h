// Random programs on the engine and on the reference, and what to do when they disagree.
#pragma once

#include <string>

#include "softgpu/reference/generator.h"

namespace farcall::softgpu::reference {

enum class Verdict {
  kAgree,
  kDiffer,
  kTooLong,      // to be worth it
  kInvalid,      // the reference does not accept it: the generator is wrong, or the reference is
  kUnsupported,  // the engine says that it does not know an instruction
};
struct Outcome {
  Verdict verdict;
  std::string detail;  // what differs first; what is unsupported
};

Outcome run_on_both(const GeneratedProgram& program);

// The program with every node taken away that is not needed for a difference.
GeneratedProgram shrink(const GeneratedProgram& program);

// One seed. The detail of a difference is ready to print: seed, first difference, shrunk PTX.
Outcome check_seed(uint64_t seed);

}  // namespace farcall::softgpu::reference
