# Lets the ROS 2 wheels from PyPI serve a CMake build. Only `make` passes this file, with
# -DCMAKE_PROJECT_INCLUDE; a ROS 2 installation needs none of it.
#
# Three things are mended, without touching the virtual environment:
# - the wheels bring no environment hooks, so the prefix is derived from where Python imports
#   ament_package;
# - their exported targets name include directories of the machine that built them
#   (/opt/python/...), which CMake refuses because they do not exist here;
# - NumPy's headers lie in the wheels' prefix, which CMake does not export where that prefix is
#   inside the source folder.

find_package(Python3 REQUIRED COMPONENTS Interpreter)
execute_process(
  COMMAND "${Python3_EXECUTABLE}" -c
    "import ament_package, pathlib; print(pathlib.Path(ament_package.__file__).parents[4])"
  OUTPUT_VARIABLE wheels_prefix
  OUTPUT_STRIP_TRAILING_WHITESPACE
  COMMAND_ERROR_IS_FATAL ANY
)
set(ENV{AMENT_PREFIX_PATH} "${wheels_prefix}")
set(ENV{CMAKE_PREFIX_PATH} "${wheels_prefix}")

function(mend_include_directories)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(directories)
      list(FILTER directories EXCLUDE REGEX "^/opt/python/")
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${directories}")
    endif()
  endforeach()

  set(target ${PROJECT_NAME}__rosidl_generator_py)
  get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
  list(TRANSFORM directories REPLACE "^(/.*)$" "$<BUILD_INTERFACE:\\1>")
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${directories}")
endfunction()

cmake_language(DEFER CALL mend_include_directories)
