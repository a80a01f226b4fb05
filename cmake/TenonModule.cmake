# tenon_module(NAME SOURCES … DEPENDS … LIBRARIES …): one folder of src/ as a static library
# tenon_NAME. DEPENDS are other modules (the arrows of docs/architecture.md), LIBRARIES foreign.
function(tenon_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS;LIBRARIES")
  add_library(tenon_${name} STATIC ${arg_SOURCES})
  set_property(GLOBAL APPEND PROPERTY TENON_MODULES ${name})
  list(TRANSFORM arg_DEPENDS PREPEND tenon_)
  target_link_libraries(tenon_${name} PUBLIC tenon_options ${arg_DEPENDS} PRIVATE ${arg_LIBRARIES})
endfunction()

# tenon_test(NAME [COMPUTES] SOURCES … DEPENDS … [LABELS …]): one gtest binary tests/NAME_test over
# modules. COMPUTES: its own code does much work.
function(tenon_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "COMPUTES" "" "SOURCES;DEPENDS;LABELS")
  add_executable(${name}_test ${arg_SOURCES})
  list(TRANSFORM arg_DEPENDS PREPEND tenon_)
  target_link_libraries(${name}_test PRIVATE tenon_options ${arg_DEPENDS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name}_test PRIVATE
    TENON_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data" TENON_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # A third of a sanitized build would go into optimizing the tests' own code.
  if(TENON_SANITIZE AND NOT arg_COMPUTES)
    target_compile_options(${name}_test PRIVATE -O0)
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  gtest_discover_tests(${name}_test PROPERTIES LABELS "${arg_LABELS}" TIMEOUT 600
    DISCOVERY_TIMEOUT 60 DISCOVERY_MODE PRE_TEST)
endfunction()
