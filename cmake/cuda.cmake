# SPDX-License-Identifier: Apache-2.0
# PHALANX_CUDA: whether nvcc compiles .cu sources. AUTO: where it is found. Sets PHALANX_CUDA_FOUND, and makes the target
# phalanx_cuda_flags. Kernels are compiled for the architectures 8.0 and 9.0; no GPU is needed for that.
set(PHALANX_CUDA AUTO CACHE STRING "AUTO, ON or OFF: compile CUDA sources by nvcc")
set_property(CACHE PHALANX_CUDA PROPERTY STRINGS AUTO ON OFF)
set(PHALANX_CUDA_FOUND OFF)
if(PHALANX_CUDA AND NOT PHALANX_CUDA STREQUAL "OFF")
  find_program(PHALANX_NVCC nvcc PATHS /usr/local/cuda/bin DOC "Compiler of CUDA sources")
  if(PHALANX_NVCC)
    set(PHALANX_CUDA_FOUND ON)
  elseif(NOT PHALANX_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "PHALANX_CUDA is ${PHALANX_CUDA}, but there is no nvcc; set PHALANX_NVCC to its path")
  endif()
endif()
message(STATUS "CUDA sources by nvcc: ${PHALANX_CUDA_FOUND}")
if(NOT PHALANX_CUDA_FOUND)
  return()
endif()

if(NOT DEFINED CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${PHALANX_NVCC})
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)  # "native" would ask for a GPU
endif()
if(NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER AND CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()
enable_language(CUDA)
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.25.2 does not know that nvcc knows C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # one runtime in a program, whoever else links it

add_library(phalanx_cuda_flags INTERFACE)
function(phalanx_cuda_options)
  target_compile_options(phalanx_cuda_flags INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:${ARGN}>")
endfunction()
phalanx_cuda_options(--expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers
                     -Xptxas=--warn-on-spills)
if(PHALANX_WERROR)
  phalanx_cuda_options(--Werror=all-warnings -Xptxas=--warning-as-error)  # a kernel that spills registers does not build
endif()
