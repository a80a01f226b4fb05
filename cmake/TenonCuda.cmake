# TENON_CUDA: AUTO (where nvcc is found), ON, OFF. Gives TENON_CUDA_ENABLED, and
# tenon_cuda_sources(TARGET ARCHITECTURES… SOURCES…) for device code. cudart is linked statically;
# cuBLASLt and the like are opened at run time, so that a binary starts where no driver is.
set(TENON_CUDA AUTO CACHE STRING "CUDA backend: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE TENON_CUDA PROPERTY STRINGS AUTO ON OFF)

set(TENON_CUDA_ENABLED OFF)
if(NOT TENON_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(TENON_CUDA_ENABLED ON)
  elseif(TENON_CUDA STREQUAL "ON")
    message(FATAL_ERROR "TENON_CUDA is ON, but no nvcc was found: set CUDACXX, or TENON_CUDA=OFF")
  endif()
endif()

if(TENON_CUDA_ENABLED)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  if(TENON_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${TENON_CCACHE})
  endif()
  set(CMAKE_CUDA_ARCHITECTURES "90a-real;80-virtual")
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  message(STATUS "CUDA backend: nvcc ${CMAKE_CUDA_COMPILER_VERSION}")
else()
  message(STATUS "CUDA backend: off (no nvcc, or TENON_CUDA=OFF)")
endif()

# Device code as an object library inside `module`: `architectures` as CMake writes them
# (90a-real: machine code for Hopper; 80-virtual: PTX that newer devices compile at start).
function(tenon_cuda_sources module name architectures)
  add_library(${name} OBJECT ${ARGN})
  # C++20 by flag below: CMake 3.25 knows none of nvcc 13, and would add one of its own to turn
  # extensions off.
  set_target_properties(${name} PROPERTIES CUDA_ARCHITECTURES "${architectures}" CUDA_EXTENSIONS ON)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_compile_options(${name} PRIVATE -std=c++20
    -Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers,-Wno-parentheses,-ffp-contract=off)
  if(TENON_WERROR)
    target_compile_options(${name} PRIVATE -Xcompiler=-Werror -Werror=all-warnings)
  endif()
  target_link_libraries(${module} PRIVATE $<BUILD_INTERFACE:${name}>)
  target_sources(${module} PRIVATE $<TARGET_OBJECTS:${name}>)
endfunction()
