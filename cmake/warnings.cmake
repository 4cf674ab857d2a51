# SPDX-License-Identifier: Apache-2.0
# One interface target with the flags of every target of ours.
add_library(phalanx_flags INTERFACE)
# phalanx_compile_options(<option>...): for the host compiler; nvcc has phalanx_cuda_flags.
function(phalanx_compile_options)
  target_compile_options(phalanx_flags INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:${ARGN}>")
endfunction()
phalanx_compile_options(-Wall -Wextra -Wshadow -Wno-missing-field-initializers
                        -fno-math-errno -fno-trapping-math)  # members left out of a designated initialiser have defaults
target_include_directories(phalanx_flags INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/kernels)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms of g++ 12 on std::string and std::vector (GCC bugs 105329, 105562).
  phalanx_compile_options(-Wno-restrict -Wno-stringop-overflow)
endif()
if(PHALANX_WERROR)
  phalanx_compile_options(-Werror)
endif()
if(PHALANX_NATIVE)
  phalanx_compile_options(-march=native)
endif()
if(PHALANX_SANITIZE)
  phalanx_compile_options(-fsanitize=${PHALANX_SANITIZE} -fno-omit-frame-pointer -g)
  target_link_options(phalanx_flags INTERFACE -fsanitize=${PHALANX_SANITIZE})
endif()
