# SPDX-License-Identifier: Apache-2.0
# The relocatable bundle: `cmake --preset portable && cpack --preset portable` builds bundle_programs and packs them with
# configurations, tests, Open MPI and every library but the driver's and CUDA's own. docs/architecture.md says why it has the
# form that it has; launch/bundle.sh makes and checks it.
#   bin/        one small script per program (cmake/bundle_start.sh.in), which chooses the loader
#   libexec/    the programs
#   lib/        what the programs open by name; below it bundled/ (libraries), glibc/, openmpi/, pmix/
if(NOT PHALANX_BUNDLE)
  return()
endif()
if(NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  message(FATAL_ERROR "a bundle is for x86_64: its scripts know the loader of that architecture only")
endif()

# bundle_programs: what cpack needs; the rest of the tree need not be built.
set(PHALANX_BUNDLE_PROGRAMS phalanx bench_operators bench_train_step operators_test gpu_comm_tests nccl_on_gpu_test
                            SumsOnGpusMatchThoseOnTheHost TrainingIsTheSameOnAnyNumberOfRanks)
set(PHALANX_BUNDLE_LIBRARIES phalanx_emulated phalanx_emulated_arena fake_nccl)
if(TARGET phalanx_cuda)
  list(APPEND PHALANX_BUNDLE_LIBRARIES phalanx_cuda)
endif()
add_custom_target(bundle_programs DEPENDS ${PHALANX_BUNDLE_PROGRAMS} ${PHALANX_BUNDLE_LIBRARIES})

# Open MPI, as it says itself. It is installed with other names for its folders, which the scripts in bin/ tell it.
find_program(PHALANX_OMPI_INFO ompi_info REQUIRED)
foreach(folder bindir pkglibdir pkgdatadir)
  execute_process(COMMAND ${PHALANX_OMPI_INFO} --path ${folder} --parsable OUTPUT_VARIABLE line COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX REPLACE "^path:[a-z]+:([^\n]*).*" "\\1" ompi_${folder} "${line}")
endforeach()
# The loader that built the programs, which says the version of glibc that they need at most.
set(bundle_loader /lib64/ld-linux-x86-64.so.2)
execute_process(COMMAND ${bundle_loader} --version OUTPUT_VARIABLE line COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "version 2\\.([0-9]+)" line "${line}")
set(PHALANX_GLIBC_MINOR ${CMAKE_MATCH_1})
file(REAL_PATH ${bundle_loader} bundle_loader)
cmake_path(GET bundle_loader PARENT_PATH glibc_folder)

install(TARGETS ${PHALANX_BUNDLE_PROGRAMS} RUNTIME DESTINATION libexec)
install(TARGETS ${PHALANX_BUNDLE_LIBRARIES} LIBRARY DESTINATION lib)
install(PROGRAMS ${ompi_bindir}/orterun DESTINATION libexec RENAME mpirun)
install(PROGRAMS ${ompi_bindir}/orted DESTINATION libexec)
configure_file(${PROJECT_SOURCE_DIR}/cmake/bundle_start.sh.in bundle/start.sh @ONLY)
foreach(program ${PHALANX_BUNDLE_PROGRAMS} mpirun orted)
  install(PROGRAMS ${PROJECT_BINARY_DIR}/bundle/start.sh DESTINATION bin RENAME ${program})
endforeach()

# Plugins of Open MPI: all but those for networks that Debian's settings leave out as well (UCX, libfabric, verbs, PSM), whose
# drivers would have to travel too, and those of OpenSHMEM.
install(DIRECTORY ${ompi_pkglibdir}/ DESTINATION lib/openmpi FILES_MATCHING PATTERN "mca_*.so"
        REGEX "_(ucx|ofi|openib|psm|psm2)\\.so$" EXCLUDE REGEX "/mca_(atomic|memheap|scoll|spml|sshmem)_" EXCLUDE)
install(DIRECTORY ${ompi_pkgdatadir}/ DESTINATION share/openmpi)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/bundle_openmpi.conf DESTINATION etc/openmpi RENAME openmpi-mca-params.conf)

install(DIRECTORY configs slurm DESTINATION .)
install(DIRECTORY docs DESTINATION . FILES_MATCHING PATTERN "*.md")
install(FILES launch/common.sh launch/job.sh launch/packages.txt DESTINATION launch)
install(FILES data/README.md DESTINATION data)
install(FILES LICENSE DESTINATION .)
install(PROGRAMS tests/run_bundle.sh DESTINATION . RENAME run_tests.sh)

# For the README: whose libraries a node has to have.
set(CPACK_PACKAGE_FILE_NAME ${PROJECT_NAME}-${PROJECT_VERSION}-linux-x86_64)
set(PHALANX_BUNDLE_CUDA "none: it was built without nvcc")
if(TARGET phalanx_cuda)
  find_package(CUDAToolkit REQUIRED)
  find_package(CUDNN REQUIRED)
  set(PHALANX_BUNDLE_CUDA "CUDA ${CUDAToolkit_VERSION}, cuDNN ${CUDNN_VERSION}")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/bundle_readme.md.in bundle/README.md @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/bundle/README.md DESTINATION .)

# Last: what all of these need.
install(CODE "set(glibc_folder ${glibc_folder})")
install(SCRIPT ${PROJECT_SOURCE_DIR}/cmake/bundle_libraries.cmake)

set(CPACK_GENERATOR TGZ)  # every system can unpack it
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR})
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_INSTALL_COMMANDS "\"${CMAKE_COMMAND}\" --build \"${PROJECT_BINARY_DIR}\" --target bundle_programs")
include(CPack)
