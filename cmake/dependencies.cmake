# SPDX-License-Identifier: Apache-2.0
# Everything Phalanx links, each with its least version and the reason for it. Debian package names: launch/packages.txt.
set(MPI_CXX_SKIP_MPICXX ON)
set(HDF5_PREFER_PARALLEL ON)
find_package(Threads REQUIRED)
find_package(fmt 9 REQUIRED)                                # fmt::runtime-free checked format strings
find_package(spdlog 1.10 REQUIRED)                          # the first that uses fmt 9
find_package(nlohmann_json 3.11 REQUIRED)                   # macros for ordered_json
find_package(MPI 3.1 REQUIRED COMPONENTS CXX)               # MPI_Comm_split_type, thread levels
find_package(HDF5 1.10 REQUIRED COMPONENTS C)               # parallel driver with collective metadata
find_package(Boost 1.74 REQUIRED COMPONENTS program_options) # the first whose Asio has coroutines and any_executor
find_package(OpenSSL 3.0 REQUIRED COMPONENTS Crypto SSL)    # SHA-256 that uses the processor's instructions; TLS 1.3
find_package(DNNL 2.6 REQUIRED)                             # the v2 primitive descriptors
find_package(OpenMP REQUIRED COMPONENTS CXX)             # the threads that oneDNN runs on
find_package(JPEG 62 REQUIRED)                              # libjpeg-turbo's jpeg_mem_src
find_package(PNG 1.6 REQUIRED)                              # the simplified read API
find_package(ZLIB 1.2 REQUIRED)
find_package(simdjson 3.0 REQUIRED)                         # on-demand parsing with depth and location
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "HDF5 was found without MPI support (package libhdf5-openmpi-dev): "
                      "ranks write one prediction file together")
endif()
add_library(phalanx_hdf5 INTERFACE)
target_include_directories(phalanx_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(phalanx_hdf5 INTERFACE ${HDF5_LIBRARIES} MPI::MPI_CXX)
