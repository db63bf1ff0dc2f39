// cuRAND: every generator on the device against cuRAND's own generator on the CPU, which promises
// the same numbers: bits must be equal, uniform and normal values nearly so.
#include <curand.h>

#include <cstring>

#include "numbers.h"

namespace {

struct Generators {
  explicit Generators(curandRngType_t type) {
    LIB(curandCreateGenerator(&device, type));
    LIB(curandCreateGeneratorHost(&host, type));
    for (curandGenerator_t generator : {device, host}) {
      if (type < CURAND_RNG_QUASI_DEFAULT) {
        LIB(curandSetPseudoRandomGeneratorSeed(generator, 20'240'607));
      } else {
        LIB(curandSetQuasiRandomGeneratorDimensions(generator, 4));
      }
    }
  }
  ~Generators() {
    LIB(curandDestroyGenerator(device));
    LIB(curandDestroyGenerator(host));
  }
  curandGenerator_t device, host;
};

constexpr size_t kCount = 32'768;  // divisible by the 4 dimensions

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

void check_generator(const char* name, curandRngType_t type, bool wide) {
  const int before = failures();
  Generators both(type);
  if (wide) {
    std::vector<unsigned long long> wanted(kCount);
    OnDevice<unsigned long long> got(kCount);
    LIB(curandGenerateLongLong(both.device, got, kCount));
    LIB(curandGenerateLongLong(both.host, wanted.data(), kCount));
    CHECK(same_bits(got.values(), wanted));
  } else {
    std::vector<unsigned> wanted(kCount);
    OnDevice<unsigned> got(kCount);
    for (int round = 0; round < 2; ++round) {  // the second goes on where the first ended
      LIB(curandGenerate(both.device, got, kCount));
      LIB(curandGenerate(both.host, wanted.data(), kCount));
      CHECK(same_bits(got.values(), wanted));
    }
  }
  std::vector<float> wanted(kCount);
  OnDevice<float> got(kCount);
  LIB(curandGenerateUniform(both.device, got, kCount));
  LIB(curandGenerateUniform(both.host, wanted.data(), kCount));
  CLOSE(got.values(), wanted, 1e-6);
  LIB(curandGenerateNormal(both.device, got, kCount, 1.0f, 2.0f));
  LIB(curandGenerateNormal(both.host, wanted.data(), kCount, 1.0f, 2.0f));
  CLOSE(got.values(), wanted, 1e-4);
  std::vector<double> wanted_double(kCount);
  OnDevice<double> got_double(kCount);
  LIB(curandGenerateUniformDouble(both.device, got_double, kCount));
  LIB(curandGenerateUniformDouble(both.host, wanted_double.data(), kCount));
  CLOSE(got_double.values(), wanted_double, 1e-12);
  if (failures() != before) std::printf("  (%s)\n", name);
}

void poisson() {
  Generators both(CURAND_RNG_PSEUDO_PHILOX4_32_10);
  OnDevice<unsigned> got(kCount);
  LIB(curandGeneratePoisson(both.device, got, kCount, 7.5));
  double sum = 0;
  for (unsigned value : got.values()) sum += value;
  CHECK(std::fabs(sum / kCount - 7.5) < 0.1);
}

}  // namespace

int main() {
  check_generator("XORWOW", CURAND_RNG_PSEUDO_XORWOW, false);
  check_generator("MRG32k3a", CURAND_RNG_PSEUDO_MRG32K3A, false);
  check_generator("MTGP32", CURAND_RNG_PSEUDO_MTGP32, false);
  check_generator("Philox", CURAND_RNG_PSEUDO_PHILOX4_32_10, false);
  check_generator("Sobol 32", CURAND_RNG_QUASI_SOBOL32, false);
  check_generator("scrambled Sobol 32", CURAND_RNG_QUASI_SCRAMBLED_SOBOL32, false);
  check_generator("Sobol 64", CURAND_RNG_QUASI_SOBOL64, true);
  check_generator("scrambled Sobol 64", CURAND_RNG_QUASI_SCRAMBLED_SOBOL64, true);
  poisson();
  return finish();
}
