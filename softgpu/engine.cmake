# The PTX execution engine: farcall_softgpu_engine, behind softgpu/exec/engine.h.
set(softgpu_handler_sources
  exec/handlers/compare.cpp exec/handlers/convert.cpp exec/handlers/float.cpp exec/handlers/half.cpp
  exec/handlers/integer.cpp exec/handlers/matrix.cpp exec/handlers/memory.cpp exec/handlers/mma.cpp
  exec/handlers/move.cpp exec/handlers/shuffle.cpp exec/handlers/table.cpp exec/handlers/wmma.cpp)

set(softgpu_handler_flags
  # In every build type: unoptimised handlers are fifty times slower. But compilers take ten minutes for -O3 with all
  # that a sanitizer or fuzzer instruments.
  $<IF:$<OR:$<BOOL:${FARCALL_FUZZ}>,$<BOOL:${FARCALL_SANITIZER}>>,-O1,-O3>
  # A fused multiply-add where the program wrote two operations would give other results than the GPU's.
  -ffp-contract=off
  # Without these GCC vectorises no square root and no comparison of floats.
  -fno-math-errno -fno-trapping-math
  # Vector types wider than the instruction set's never cross a function that is not inlined.
  -Wno-psabi)

# What kernels do with device memory is data to us: a kernel may race, as on a GPU, and that is its own bug (racecheck
# finds it), not one of softgpu. So ThreadSanitizer does not look at the handlers that load and store for kernels. They
# touch nothing else that threads share: a warp's registers belong to one worker.
if(FARCALL_SANITIZER STREQUAL "tsan")
  set(softgpu_model_flags -fno-sanitize=thread)
endif()

# farcall_softgpu_handlers(ISA flags...): the handlers, built for one instruction set.
function(farcall_softgpu_handlers isa)
  add_library(farcall_softgpu_${isa} OBJECT ${softgpu_handler_sources})
  target_include_directories(farcall_softgpu_${isa} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(farcall_softgpu_${isa} PRIVATE FARCALL_ISA=isa_${isa})
  target_compile_options(farcall_softgpu_${isa} PRIVATE ${softgpu_handler_flags} ${softgpu_model_flags} ${ARGN})
  farcall_warnings(farcall_softgpu_${isa})
  # Some lambdas need their captures in one instance of the template around them only.
  target_compile_options(farcall_softgpu_${isa} PRIVATE $<$<CXX_COMPILER_ID:Clang>:-Wno-unused-lambda-capture>)
endfunction()
# One build for each level of x86-64, chosen when the library is loaded (exec/handlers/dispatch.cpp).
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(FARCALL_SOFTGPU_ISAS v2 v3 v4 CACHE STRING
    "Levels of x86-64 that softgpu's handlers are built for; one is enough, and quicker, while working on them")
  set(softgpu_isas ${FARCALL_SOFTGPU_ISAS})
  set(softgpu_flags_v2 -march=x86-64-v2)
  set(softgpu_flags_v3 -march=x86-64-v3)
  set(softgpu_flags_v4 -march=x86-64-v4 -mprefer-vector-width=512)
  set(softgpu_builds "")
  foreach(isa ${softgpu_isas})
    if(NOT DEFINED softgpu_flags_${isa})
      message(FATAL_ERROR "FARCALL_SOFTGPU_ISAS: no such level '${isa}'; there are v2, v3 and v4")
    endif()
    farcall_softgpu_handlers(${isa} ${softgpu_flags_${isa}})
    string(APPEND softgpu_builds " X(${isa})")
  endforeach()
  set_source_files_properties(exec/handlers/dispatch.cpp PROPERTIES
    COMPILE_OPTIONS "-DFARCALL_SOFTGPU_ISA_BUILDS(X)=${softgpu_builds}")
else()
  set(softgpu_isas base)
  farcall_softgpu_handlers(base)
endif()
set(softgpu_handler_objects)
foreach(isa ${softgpu_isas})
  list(APPEND softgpu_handler_objects $<TARGET_OBJECTS:farcall_softgpu_${isa}>)
endforeach()

# Handlers of which one build is enough.
add_library(farcall_softgpu_common OBJECT
  exec/handlers/async_copy.cpp exec/handlers/atomic.cpp exec/handlers/bulk_copy.cpp exec/handlers/cluster.cpp
  exec/handlers/device_launch.cpp exec/handlers/device_library.cpp exec/handlers/tensor_copy.cpp
  exec/handlers/mbarrier.cpp exec/handlers/mma_general.cpp exec/handlers/predicate.cpp exec/handlers/warp_ops.cpp)
target_sources(farcall_softgpu_common PRIVATE
  exec/handlers/narrow_float.cpp exec/handlers/special_float.cpp exec/handlers/special_integer.cpp
  exec/handlers/stack.cpp exec/handlers/video.cpp)
target_include_directories(farcall_softgpu_common PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_definitions(farcall_softgpu_common PRIVATE FARCALL_ISA=isa_common)
target_compile_options(farcall_softgpu_common PRIVATE ${softgpu_handler_flags} $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
farcall_warnings(farcall_softgpu_common)
target_compile_options(farcall_softgpu_common PRIVATE $<$<CXX_COMPILER_ID:Clang>:-Wno-unused-lambda-capture>)

farcall_library(softgpu_engine
  SOURCES
    ptx/body_parser.cpp ptx/constant.cpp ptx/lexer.cpp ptx/module_parser.cpp ptx/syntax.cpp
    decode/assembler.cpp decode/async_copy.cpp decode/atomic.cpp decode/bulk_copy.cpp decode/cluster.cpp decode/compare.cpp
    decode/control.cpp
    decode/convert.cpp decode/decoder.cpp decode/float.cpp decode/hoist.cpp decode/integer.cpp decode/link.cpp decode/matrix.cpp
    decode/mbarrier.cpp decode/memory.cpp decode/mma.cpp decode/move.cpp decode/registers.cpp decode/skips.cpp decode/tensor_map.cpp
    decode/warp.cpp decode/wmma.cpp
    exec/barriers.cpp exec/block.cpp exec/buffer.cpp exec/calls.cpp exec/check.cpp exec/child_launch.cpp exec/control.cpp exec/convoy.cpp
    exec/describe.cpp exec/device_heap.cpp exec/engine.cpp exec/fault.cpp
    exec/grid.cpp exec/memory.cpp exec/race.cpp exec/unwritten.cpp
    exec/warp.cpp exec/warp_sync.cpp exec/handlers/dispatch.cpp
    ${softgpu_handler_objects} $<TARGET_OBJECTS:farcall_softgpu_common>
  DEPS farcall_base Threads::Threads)
target_sources(farcall_softgpu_engine PRIVATE decode/symbols.cpp decode/video.cpp)
# An Op is aligned to its cache line; passing one by value is no interface between compilers.
target_compile_options(farcall_softgpu_engine PRIVATE -ffp-contract=off -Wno-psabi)
set_source_files_properties(exec/convoy.cpp exec/warp.cpp PROPERTIES COMPILE_OPTIONS -O3)

# What the engine lacks for the PTX of given libraries; scripts/ptx-coverage runs it.
add_executable(softgpu-coverage EXCLUDE_FROM_ALL decode/coverage.cpp)
target_include_directories(softgpu-coverage PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(softgpu-coverage PRIVATE farcall_softgpu_engine farcall_image)
farcall_warnings(softgpu-coverage)

# farcall_ptx(NAME SOURCE flags...): PTX compiled by nvcc, embedded as `extern const char NAME[]`.
function(farcall_ptx name source)
  set(ptx ${CMAKE_CURRENT_BINARY_DIR}/${name}.ptx)
  set(embedded ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  add_custom_command(
    OUTPUT ${embedded}
    COMMAND ${FARCALL_NVCC} -std=c++17 -ptx -ccbin ${CMAKE_CXX_COMPILER} ${ARGN} -o ${ptx}
            ${CMAKE_CURRENT_SOURCE_DIR}/${source}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${ptx} -DOUTPUT=${embedded} -DNAME=${name}
            -P ${CMAKE_CURRENT_SOURCE_DIR}/testdata/embed.cmake
    DEPENDS ${source} testdata/embed.cmake
    COMMENT "nvcc -ptx ${source}"
    VERBATIM)
endfunction()
if(BUILD_TESTING)
  farcall_ptx(kernels_75 testdata/kernels.cu -arch=compute_75)
  farcall_test(softgpu_kernels_test
    SOURCES exec/kernels_test.cpp ${CMAKE_CURRENT_BINARY_DIR}/kernels_75.cpp
    DEPS farcall_softgpu_engine)
  add_executable(softgpu-bench EXCLUDE_FROM_ALL
    exec/engine_bench.cpp exec/bench_reference.cpp ${CMAKE_CURRENT_BINARY_DIR}/kernels_75.cpp)
  set_source_files_properties(exec/bench_reference.cpp PROPERTIES COMPILE_OPTIONS "-O3;-march=native")
  target_include_directories(softgpu-bench PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(softgpu-bench PRIVATE farcall_softgpu_engine GTest::gtest)
  farcall_test(softgpu_ptx_test
    SOURCES ptx/parser_test.cpp decode/damaged_instructions_test.cpp decode/hoist_test.cpp decode/registers_test.cpp
            exec/control_test.cpp exec/convoy_test.cpp exec/memory_test.cpp exec/warp_sync_test.cpp
            ${CMAKE_CURRENT_BINARY_DIR}/kernels_75.cpp
    DEPS farcall_softgpu_engine)
  farcall_test(softgpu_check_test SOURCES exec/check_test.cpp exec/race_test.cpp DEPS farcall_softgpu_engine)
  farcall_ptx(async_80 testdata/async.cu -arch=compute_80)
  farcall_ptx(async_90 testdata/async.cu -arch=compute_90)
  farcall_ptx(clusters_90 testdata/clusters.cu -arch=compute_90)
  farcall_ptx(clusters_120 testdata/clusters.cu -arch=compute_120)
  farcall_test(softgpu_async_test
    SOURCES exec/async_test.cpp exec/cluster_test.cpp exec/pipelines_test.cpp exec/tensor_copy_test.cpp
            ${CMAKE_CURRENT_BINARY_DIR}/async_80.cpp ${CMAKE_CURRENT_BINARY_DIR}/async_90.cpp
            ${CMAKE_CURRENT_BINARY_DIR}/clusters_90.cpp ${CMAKE_CURRENT_BINARY_DIR}/clusters_120.cpp
    DEPS farcall_softgpu_engine)
  farcall_ptx(children_75 testdata/children.cu -arch=compute_75 -rdc=true)
  farcall_test(softgpu_child_launch_test
    SOURCES exec/child_launch_test.cpp ${CMAKE_CURRENT_BINARY_DIR}/children_75.cpp
    DEPS farcall_softgpu_engine)
  farcall_ptx(matrices_80 testdata/matrices.cu -arch=compute_80)
  farcall_test(softgpu_matrix_test
    SOURCES exec/handlers/matrix_test.cpp exec/handlers/mma_test.cpp exec/handlers/wmma_test.cpp
            ${CMAKE_CURRENT_BINARY_DIR}/matrices_80.cpp
    DEPS farcall_softgpu_engine)
  # The references compute in other rounding modes and must not be contracted either.
  farcall_test(softgpu_instructions_test
    SOURCES exec/handlers/compare_test.cpp exec/handlers/convert_test.cpp exec/handlers/float_test.cpp
            exec/handlers/half_test.cpp exec/handlers/integer_test.cpp
    DEPS farcall_softgpu_engine)
  target_sources(softgpu_instructions_test PRIVATE
    exec/handlers/narrow_float_test.cpp exec/handlers/special_test.cpp exec/handlers/video_test.cpp)
  target_compile_options(softgpu_instructions_test PRIVATE -ffp-contract=off -frounding-math)
  # The reference that random programs are compared with. It shares no code with the engine.
  add_library(farcall_softgpu_reference STATIC EXCLUDE_FROM_ALL
    reference/generator.cpp reference/machine.cpp reference/program.cpp reference/random_programs.cpp
    reference/scalar.cpp reference/soft_float.cpp)
  target_link_libraries(farcall_softgpu_reference PUBLIC farcall_softgpu_engine GTest::gtest)
  farcall_warnings(farcall_softgpu_reference)
  # Thousands of programs, in every build type.
  target_compile_options(farcall_softgpu_reference PRIVATE -O2)
  farcall_test(softgpu_reference_test
    SOURCES reference/random_programs_test.cpp reference/rounding_test.cpp reference/soft_float_test.cpp
    DEPS farcall_softgpu_reference
    TIMEOUT 300)  # a few seconds each, but not on a busy machine with a sanitizer
  target_compile_options(softgpu_reference_test PRIVATE -ffp-contract=off -frounding-math)
  add_executable(softgpu-random-programs EXCLUDE_FROM_ALL reference/random_programs_main.cpp)
  target_link_libraries(softgpu-random-programs PRIVATE farcall_softgpu_reference)
  set_target_properties(softgpu-random-programs PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  # Every engine test with every build of the handlers, where the processor can run it (otherwise the best one runs again).
  foreach(isa ${softgpu_isas})
    foreach(test softgpu_async_test softgpu_check_test softgpu_images_test softgpu_instructions_test
                 softgpu_kernels_test softgpu_matrix_test softgpu_ptx_test)
      add_test(NAME ${test}_on_${isa} COMMAND ${test})
      set_tests_properties(${test}_on_${isa} PROPERTIES ENVIRONMENT "FARCALL_SOFTGPU_ISA=${isa}" TIMEOUT 300)
    endforeach()
    add_test(NAME softgpu_isa_isolation_${isa}
      COMMAND ${CMAKE_COMMAND} -DISA=${isa} -DNM=${CMAKE_NM} "-DOBJECTS=$<TARGET_OBJECTS:farcall_softgpu_${isa}>"
              -P ${CMAKE_CURRENT_SOURCE_DIR}/testdata/isa_isolation.cmake)
  endforeach()
endif()
