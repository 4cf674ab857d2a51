# SPDX-License-Identifier: Apache-2.0
# Run by the installation of a bundle (cmake/bundle.cmake), once everything else is in its place: copies each library that the
# programs, the libraries they open and Open MPI's plugins need, glibc among them, and the licences of all that is not ours.
# Expects glibc_folder.
cmake_minimum_required(VERSION 3.25)
set(to "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
set(programs ${CMAKE_INSTALL_MANIFEST_FILES})
list(FILTER programs INCLUDE REGEX "/libexec/[^/]+$")
set(opened ${CMAKE_INSTALL_MANIFEST_FILES})
list(FILTER opened INCLUDE REGEX "/lib/(openmpi/)?[^/]+\\.so$")

# The driver's libraries have to be those of the node's driver; CUDA's own weigh gigabytes, and clusters have them.
file(GET_RUNTIME_DEPENDENCIES
  EXECUTABLES ${programs} MODULES ${opened}
  PRE_EXCLUDE_REGEXES "^lib(cuda|cudart|cublas|cublasLt|cudnn.*|nccl|nvidia-.*)\\.so"
  RESOLVED_DEPENDENCIES_VAR libraries UNRESOLVED_DEPENDENCIES_VAR missing)
if(missing)
  message(FATAL_ERROR "libraries of the bundle are not on this machine: ${missing}")
endif()

# glibc is all or nothing: its parts belong to one loader, and are left aside with it where the host's is as new.
set(glibc ld-linux-x86-64.so.2 libanl.so.1 libc.so.6 libdl.so.2 libm.so.6 libmvec.so.1 libnsl.so.1 libnss_compat.so.2
          libnss_dns.so.2 libnss_files.so.2 libpthread.so.0 libresolv.so.2 librt.so.1 libthread_db.so.1 libutil.so.1)
set(sources "")
foreach(name IN LISTS glibc)
  file(INSTALL ${glibc_folder}/${name} DESTINATION ${to}/lib/glibc TYPE PROGRAM FOLLOW_SYMLINK_CHAIN)
  list(APPEND sources ${glibc_folder}/${name})
endforeach()
foreach(library IN LISTS libraries)
  get_filename_component(name ${library} NAME)
  if(NOT name IN_LIST glibc)
    file(INSTALL ${library} DESTINATION ${to}/lib/bundled TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN)
    list(APPEND sources ${library})
    if(name MATCHES "^libpmix\\.so")
      file(REAL_PATH ${library} pmix)
      get_filename_component(pmix ${pmix} DIRECTORY)
    endif()
  endif()
endforeach()

file(INSTALL ${pmix}/pmix/ DESTINATION ${to}/lib/pmix USE_SOURCE_PERMISSIONS FILES_MATCHING PATTERN "pmix_mca_*.so")
file(INSTALL ${pmix}/../share/pmix/ DESTINATION ${to}/share/pmix FILES_MATCHING PATTERN "*.txt")

find_program(dpkg_query dpkg-query)
if(NOT dpkg_query)
  message(WARNING "no dpkg-query: the bundle holds no licences of the libraries in it")
  return()
endif()
set(packages openmpi-bin)
foreach(library IN LISTS sources)
  get_filename_component(name ${library} NAME)
  execute_process(COMMAND ${dpkg_query} --search "*/${name}" OUTPUT_VARIABLE found ERROR_QUIET)
  if(found MATCHES "^([^:,]+)")
    list(APPEND packages ${CMAKE_MATCH_1})
  endif()
endforeach()
list(REMOVE_DUPLICATES packages)
foreach(package IN LISTS packages)
  if(EXISTS /usr/share/doc/${package}/copyright)
    file(READ /usr/share/doc/${package}/copyright text)
    file(WRITE ${to}/share/licenses/${package}.txt "${text}")
  endif()
endforeach()
