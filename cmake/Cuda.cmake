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

# nvcc as a user would run it: no architecture, no special flags, and no sanitizer either.
set(FARCALL_NVCC_COMMAND ${FARCALL_NVCC} -std=c++17 -O2 -ccbin ${CMAKE_CXX_COMPILER})

# farcall_cuda_objects(VARIABLE NAME SOURCES a.cu ... FLAGS ...): compiles; VARIABLE gets the object files.
function(farcall_cuda_objects variable name)
  cmake_parse_arguments(ARG "" "" "SOURCES;FLAGS" ${ARGN})
  set(objects)
  foreach(source ${ARG_SOURCES})
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.dir/${source}.o)
    get_filename_component(folder ${object} DIRECTORY)
    add_custom_command(
      OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}
      COMMAND ${FARCALL_NVCC_COMMAND} -I${CMAKE_CURRENT_SOURCE_DIR} ${ARG_FLAGS} -MMD -MF ${object}.d
              -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source}
      DEPFILE ${object}.d
      COMMENT "nvcc -c ${source}"
      VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  set(${variable} ${objects} PARENT_SCOPE)
endfunction()

# The link step: a target NAME-program that makes OUTPUT_DIRECTORY/NAME from object files.
function(farcall_cuda_link name)
  cmake_parse_arguments(ARG "" "CUDART;OUTPUT_DIRECTORY" "OBJECTS;FLAGS;LIBS;DEPENDS" ${ARGN})
  if(NOT ARG_OUTPUT_DIRECTORY)
    set(ARG_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  endif()
  set(output ${ARG_OUTPUT_DIRECTORY}/${name})
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${ARG_OUTPUT_DIRECTORY}
    COMMAND ${FARCALL_NVCC_COMMAND} -cudart ${ARG_CUDART} ${ARG_FLAGS} ${ARG_OBJECTS} -o ${output} ${ARG_LIBS}
    DEPENDS ${ARG_OBJECTS} ${ARG_DEPENDS}
    COMMENT "nvcc ${name} (-cudart ${ARG_CUDART})"
    VERBATIM)
  # Not plain NAME: in its own build folder that would be the name of the file.
  add_custom_target(${name}-program ALL DEPENDS ${output})
endfunction()

# farcall_cuda_program(NAME SOURCES a.cu ... CUDART shared|static|none FLAGS ... LIBS ... DEPENDS targets
#                      OUTPUT_DIRECTORY folder): one program.
# With CUDART "shared" "static" (a list) the same objects are linked twice, into NAME_shared and NAME_static.
function(farcall_cuda_program name)
  cmake_parse_arguments(ARG "" "OUTPUT_DIRECTORY" "CUDART;SOURCES;FLAGS;LIBS;DEPENDS" ${ARGN})
  farcall_cuda_objects(objects ${name} SOURCES ${ARG_SOURCES} FLAGS ${ARG_FLAGS})
  list(LENGTH ARG_CUDART count)
  foreach(cudart ${ARG_CUDART})
    set(target ${name})
    if(count GREATER 1)
      set(target ${name}_${cudart})
    endif()
    farcall_cuda_link(${target} OBJECTS ${objects} CUDART ${cudart} FLAGS ${ARG_FLAGS} LIBS ${ARG_LIBS}
                      DEPENDS ${ARG_DEPENDS} OUTPUT_DIRECTORY ${ARG_OUTPUT_DIRECTORY})
  endforeach()
endfunction()

# What a driver-API program links against: the toolkit's stub library where the toolkit has one (NVIDIA's wheels have
# none), else softgpu's libcuda.so.1, which exports the same names.
function(farcall_libcuda_to_link libs_variable depends_variable)
  if(EXISTS ${FARCALL_CUDA_LIB}/stubs/libcuda.so)
    set(${libs_variable} -L${FARCALL_CUDA_LIB}/stubs -lcuda PARENT_SCOPE)
    set(${depends_variable} "" PARENT_SCOPE)
  else()
    set(${libs_variable} -Xlinker ${FARCALL_SOFTGPU_DIR}/libcuda.so.1 PARENT_SCOPE)
    set(${depends_variable} softgpu_cuda PARENT_SCOPE)
  endif()
endfunction()
