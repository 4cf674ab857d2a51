# SPDX-License-Identifier: Apache-2.0
# cmake -DOUTPUT=<file.cpp> -DFILES=<file;...> -P embed_dashboard.cmake: writes the texts of the files into a C++ source, which
# defines dashboard_files() of src/serve/protocol/dashboard.hpp.
set(entries "")
foreach(file IN LISTS FILES)
  file(READ ${file} text)
  file(SHA256 ${file} digest)
  string(SUBSTRING ${digest} 0 32 digest)
  cmake_path(GET file FILENAME name)
  string(FIND "${text}" ")~phalanx~\"" end)
  if(NOT end EQUAL -1)
    message(FATAL_ERROR "${file} holds the mark that ends it in a C++ source")
  endif()
  string(APPEND entries "    {\"${name}\", \"${digest}\",\n     R\"~phalanx~(${text})~phalanx~\"},\n")
endforeach()
file(WRITE ${OUTPUT} "// SPDX-License-Identifier: Apache-2.0
// Written by cmake/embed_dashboard.cmake.
#include \"serve/protocol/dashboard.hpp\"

namespace phalanx {
namespace {

constexpr DashboardFile kFiles[] = {
${entries}};

}  // namespace

std::span<const DashboardFile> dashboard_files() noexcept { return kFiles; }

}  // namespace phalanx
")
