# The shared library tenon::tenon (libtenon.so, made of the modules' objects; only what is marked
# TENON_API leaves it), and what `cmake --install` puts down: it, its headers, its CMake package, and
# the program.
include(CMakePackageConfigHelpers)

get_property(modules GLOBAL PROPERTY TENON_MODULES)
list(REMOVE_ITEM modules cli server)
list(TRANSFORM modules REPLACE "(.+)" "$<TARGET_OBJECTS:tenon_\\1>" OUTPUT_VARIABLE objects)

add_library(tenon_shared SHARED ${objects})
add_library(tenon::tenon ALIAS tenon_shared)
set_target_properties(tenon_shared PROPERTIES
  OUTPUT_NAME tenon EXPORT_NAME tenon LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/tenon.map
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib
  VERIFY_INTERFACE_HEADER_SETS ON)
target_compile_features(tenon_shared INTERFACE cxx_std_20)
# Templates of the standard library are instantiated with default visibility: the map hides them.
target_link_options(tenon_shared PRIVATE
  -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/tenon.map -Wl,--no-undefined)
# Foreign libraries come by way of the top module, for this library alone: its headers need none.
target_link_libraries(tenon_shared PRIVATE tenon_api)

set(headers chat config engine error executor executor_config export kv_cache layers llm model
  request sampling scheduling statistics tenon types version)
list(TRANSFORM headers REPLACE "(.+)" "${PROJECT_SOURCE_DIR}/include/tenon/\\1.h")
target_sources(tenon_shared INTERFACE
  FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${headers})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tenon)
install(TARGETS tenon_shared EXPORT tenonTargets FILE_SET HEADERS)
install(TARGETS tenon_program)
install(EXPORT tenonTargets NAMESPACE tenon:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/tenonConfig.cmake.in
  ${CMAKE_BINARY_DIR}/tenonConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/tenonConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/tenonConfig.cmake ${CMAKE_BINARY_DIR}/tenonConfigVersion.cmake
  DESTINATION ${package_dir})
install(FILES LICENSE NOTICE THIRD_PARTY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
