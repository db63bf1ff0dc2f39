# The PTX execution engine: farcall_softgpu_engine, behind softgpu/exec/engine.h.
farcall_library(softgpu_engine
  SOURCES
    exec/engine.cpp
  DEPS farcall_base Threads::Threads)
# A fused multiply-add where the program wrote two operations would give other results than the GPU's.
target_compile_options(farcall_softgpu_engine PRIVATE -ffp-contract=off)
