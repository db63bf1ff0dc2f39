# Compiler settings and the helpers every folder's CMakeLists.txt uses.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
# Asserts state invariants and stay on in every build (docs/HACKING.md); -g1 keeps backtraces and small files.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1")

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(FARCALL_STUB_DIR ${CMAKE_BINARY_DIR}/lib/farcall)     # libcuda.so.1, libcudart.so.N, libfarcall.so
set(FARCALL_SOFTGPU_DIR ${CMAKE_BINARY_DIR}/lib/softgpu)  # softgpu's libcuda.so.1
set(FARCALL_GEN_DIR ${CMAKE_BINARY_DIR}/gen)              # everything generated

set(FARCALL_SANITIZER "" CACHE STRING "asan, ubsan, tsan or empty")
if(FARCALL_SANITIZER STREQUAL "asan")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(FARCALL_SANITIZER STREQUAL "ubsan")
  add_compile_options(-fsanitize=undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=undefined)
elseif(FARCALL_SANITIZER STREQUAL "tsan")
  # g++ warns that it can't see Asio's atomic_thread_fence; what that hides is inside Asio.
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer
                      $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
  add_link_options(-fsanitize=thread)
elseif(FARCALL_SANITIZER)
  message(FATAL_ERROR "FARCALL_SANITIZER is '${FARCALL_SANITIZER}'; use asan, ubsan or tsan")
endif()

# For tests that run programs made by nvcc, which know nothing of sanitizers, with our libraries, which need theirs
# loaded first. Leaks are not looked for there: NVIDIA's runtime and a library that outlives main() keep some memory.
set(FARCALL_TEST_ENVIRONMENT)
if(FARCALL_SANITIZER STREQUAL "asan" OR FARCALL_SANITIZER STREQUAL "tsan")
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=lib${FARCALL_SANITIZER}.so
                  OUTPUT_VARIABLE farcall_sanitizer_library OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(FARCALL_TEST_ENVIRONMENT LD_PRELOAD=${farcall_sanitizer_library} ASAN_OPTIONS=detect_leaks=0)
endif()

# For `./dev fuzz` (clang): all code gets libFuzzer's coverage, tests/fuzz links its main().
option(FARCALL_FUZZ "build the fuzzers with libFuzzer" OFF)
if(FARCALL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(FARCALL_CCACHE ccache)
if(FARCALL_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${FARCALL_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${FARCALL_CCACHE})
endif()

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CapnProto REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(PkgConfig REQUIRED)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)

function(farcall_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Werror)
endfunction()

# farcall_library(NAME SOURCES ... DEPS ...): a static library `farcall_NAME`, included as "NAME/header.h".
function(farcall_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(farcall_${name} STATIC ${ARG_SOURCES})
  target_include_directories(farcall_${name} PUBLIC ${PROJECT_SOURCE_DIR} ${FARCALL_GEN_DIR})
  target_link_libraries(farcall_${name} PUBLIC ${ARG_DEPS})
  farcall_warnings(farcall_${name})
endfunction()

# farcall_test(NAME SOURCES ... DEPS ...): a GoogleTest program, one ctest entry per TEST.
if(BUILD_TESTING)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()
function(farcall_test name)
  if(NOT BUILD_TESTING)
    return()
  endif()
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  # bin/ is for what users run.
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${FARCALL_GEN_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  farcall_warnings(${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()
