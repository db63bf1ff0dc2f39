# Where the CUDA toolkit is: $CUDA_HOME, /usr/local/cuda, or the wheels that `./dev setup` unpacked under the
# build folder. Only headers, nvcc and libcudart are used; no driver and no GPU are needed to build.
#   FARCALL_CUDA_HOME     root of the toolkit       FARCALL_NVCC     the compiler
#   FARCALL_CUDA_INCLUDE  folder of cuda.h          FARCALL_CUDA_LIB folder of libcudart.so.N
set(FARCALL_CUDA_HOME "$ENV{CUDA_HOME}" CACHE PATH "CUDA toolkit root")
if(NOT FARCALL_CUDA_HOME)
  foreach(candidate /usr/local/cuda ${CMAKE_SOURCE_DIR}/build/cuda)
    if(EXISTS ${candidate}/bin/nvcc)
      set(FARCALL_CUDA_HOME ${candidate} CACHE PATH "CUDA toolkit root" FORCE)
      break()
    endif()
  endforeach()
endif()
find_program(FARCALL_NVCC nvcc PATHS ${FARCALL_CUDA_HOME}/bin NO_DEFAULT_PATH)
find_path(FARCALL_CUDA_INCLUDE cuda.h PATHS ${FARCALL_CUDA_HOME}/include NO_DEFAULT_PATH)
find_path(FARCALL_CUDA_LIB NAMES libcudart.so.13 libcudart.so.12
          PATHS ${FARCALL_CUDA_HOME}/lib64 ${FARCALL_CUDA_HOME}/lib NO_DEFAULT_PATH)
if(NOT FARCALL_NVCC OR NOT FARCALL_CUDA_INCLUDE OR NOT FARCALL_CUDA_LIB)
  message(FATAL_ERROR "No CUDA toolkit in '${FARCALL_CUDA_HOME}': run ./dev setup, or set CUDA_HOME")
endif()
file(GLOB FARCALL_CUDART_LIBRARY ${FARCALL_CUDA_LIB}/libcudart.so.[0-9][0-9])
add_library(farcall_cuda_headers INTERFACE)
target_include_directories(farcall_cuda_headers SYSTEM INTERFACE ${FARCALL_CUDA_INCLUDE})

# farcall_cuda_program(NAME SOURCES a.cu ... CUDART shared|static|none FLAGS ...): built by nvcc as a user would.
function(farcall_cuda_program name)
  cmake_parse_arguments(ARG "" "CUDART;OUTPUT_DIRECTORY" "SOURCES;FLAGS;LIBS" ${ARGN})
  if(NOT ARG_OUTPUT_DIRECTORY)
    set(ARG_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  endif()
  set(output ${ARG_OUTPUT_DIRECTORY}/${name})
  set(sources)
  foreach(source ${ARG_SOURCES})
    list(APPEND sources ${CMAKE_CURRENT_SOURCE_DIR}/${source})
  endforeach()
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${ARG_OUTPUT_DIRECTORY}
    COMMAND ${FARCALL_NVCC} -std=c++17 -O2 -ccbin ${CMAKE_CXX_COMPILER} -I${CMAKE_CURRENT_SOURCE_DIR}
            -cudart ${ARG_CUDART} ${ARG_FLAGS} ${sources} -o ${output} ${ARG_LIBS}
    DEPENDS ${sources}
    COMMENT "nvcc ${name} (-cudart ${ARG_CUDART})"
    VERBATIM)
  add_custom_target(${name} ALL DEPENDS ${output})
endfunction()
