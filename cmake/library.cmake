# SPDX-License-Identifier: Apache-2.0
# phalanx_library(<folder> SOURCES <file>... LINK <target>...): the static library phalanx_<folder> of one folder in src/.
function(phalanx_library folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK")
  add_library(phalanx_${folder} STATIC ${arg_SOURCES})
  target_link_libraries(phalanx_${folder} PUBLIC phalanx_flags ${arg_LINK})
endfunction()
