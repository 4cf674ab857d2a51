# SPDX-License-Identifier: Apache-2.0
# add_operator(<op>) is the one line that an operator needs: it adds the sources of kernels/<op>/ to the library
# `phalanx_operators`, its cases to the test-only library `phalanx_operator_cases`, and a row to the generated tables. Its
# CUDA source, if it has one, joins PHALANX_CUDA_SOURCES: nvcc compiles it for the backend, the host compiler for tests.
# CMake lists split at ';', so the rows are appended as strings.
function(add_operator name)
  set(dir ${PROJECT_SOURCE_DIR}/kernels/${name})
  target_sources(phalanx_operators PRIVATE ${dir}/${name}.cpp ${dir}/${name}_cpu.cpp)
  target_sources(phalanx_operator_cases PRIVATE ${dir}/${name}_cases.cpp)
  if(EXISTS ${dir}/${name}_cuda.cu)
    set_property(GLOBAL APPEND PROPERTY PHALANX_CUDA_SOURCES ${dir}/${name}_cuda.cu)
    set_property(GLOBAL APPEND_STRING PROPERTY PHALANX_CUDA_DECLARATIONS "extern const DeviceKernels ${name}_cuda;\n")
    set_property(GLOBAL APPEND_STRING PROPERTY PHALANX_CUDA_ENTRIES "      {\"${name}\", &${name}_cuda},\n")
  endif()
  set_property(GLOBAL APPEND_STRING PROPERTY PHALANX_OPERATOR_DECLARATIONS "extern const OpSpec ${name}_op;\n")
  set_property(GLOBAL APPEND_STRING PROPERTY PHALANX_OPERATOR_ENTRIES "    &${name}_op,\n")
  set_property(GLOBAL APPEND_STRING PROPERTY PHALANX_CASES_DECLARATIONS "extern const OpCases ${name}_cases;\n")
  set_property(GLOBAL APPEND_STRING PROPERTY PHALANX_CASES_ENTRIES "    &${name}_cases,\n")
endfunction()

# Writes the tables; called once, after the last add_operator.
function(finish_operators)
  foreach(table OPERATOR CASES CUDA)
    get_property(PHALANX_DECLARATIONS GLOBAL PROPERTY PHALANX_${table}_DECLARATIONS)
    get_property(PHALANX_ENTRIES GLOBAL PROPERTY PHALANX_${table}_ENTRIES)
    string(TOLOWER ${table} lower)
    configure_file(${PROJECT_SOURCE_DIR}/cmake/${lower}_table.cpp.in ${PROJECT_BINARY_DIR}/generated/${lower}_table.cpp @ONLY)
  endforeach()
  target_sources(phalanx_operators PRIVATE ${PROJECT_BINARY_DIR}/generated/operator_table.cpp)
  target_sources(phalanx_operator_cases PRIVATE ${PROJECT_BINARY_DIR}/generated/cases_table.cpp)
endfunction()
