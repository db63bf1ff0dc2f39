// fork() without exec after CUDA is in use: CUDA does not support it. The child's calls must fail,
// soon, and the parent must not notice.
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

__global__ void set(int* memory, int value) { *memory = value; }

int main() {
  int* memory;
  REQUIRE(cudaMalloc(&memory, 4));
  set<<<1, 1>>>(memory, 7);
  REQUIRE(cudaDeviceSynchronize());

  const pid_t child = fork();
  if (child == 0) {
    alarm(10);  // a hang is what this must not do
    int* mine = nullptr;
    const cudaError_t allocation = cudaMalloc(&mine, 4);
    const cudaError_t wait = cudaDeviceSynchronize();
    _exit(allocation != cudaSuccess && wait != cudaSuccess ? 0 : 1);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return EXIT_FAILURE;
  const bool child_good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  std::printf("child: %s\n", child_good            ? "its calls failed"
                             : WIFSIGNALED(status) ? "hung or crashed"
                                                   : "its calls succeeded");

  int value = 0;
  report("parent's copy", cudaMemcpy(&value, memory, 4, cudaMemcpyDeviceToHost));
  set<<<1, 1>>>(memory, value + 1);
  report("parent's copy", cudaMemcpy(&value, memory, 4, cudaMemcpyDeviceToHost));
  std::printf("value: %d\n", value);
  return child_good && value == 8 ? EXIT_SUCCESS : EXIT_FAILURE;
}
