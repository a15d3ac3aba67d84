"""The C++ header, compiled with the messages of the build, beside the Python that reads masks."""

import copy
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from ament_index_python import get_package_prefix
from rclpy.serialization import deserialize_message, serialize_message
from sipmask_ros.msg import InstanceArray

from sipmask_core.errors import InputError
from sipmask_ros.conversions import message_to_instances

HERE = Path(__file__).parent / "masks_header"
VECTORS = ROOT / "tests" / "vectors"
COMPILER = shutil.which("c++")
STRICT = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


def compile_cpp(*arguments, source=None):
    run = subprocess.run([COMPILER, *arguments], input=source, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def prefixes():
    return {Path(get_package_prefix(name)) for name in ("sipmask_ros", "rosidl_runtime_cpp")}


def ros_includes():
    """Return the flags for headers of the messages, whose warnings are not ours."""
    folders = [prefix / "include" for prefix in prefixes()]
    folders += [package for folder in folders for package in folder.iterdir()]
    return [f"-isystem{folder}" for folder in folders]


def opencv_flags():
    """Return what OpenCV needs where its C++ files are, and else the flags of its stand-in."""
    found = subprocess.run(
        ["pkg-config", "--cflags", "opencv4"], capture_output=True, text=True, check=False
    )
    if found.returncode == 0:
        return [*found.stdout.split(), "-lopencv_core"]
    return [f"-I{HERE / 'opencv_stand_in'}"]


@pytest.fixture(scope="module")
def shown_in_cpp(tmp_path_factory):
    """Compile the program that prints masks; return what runs it on messages."""
    folder = tmp_path_factory.mktemp("masks")
    program = folder / "print_masks"
    libraries = [str(prefix / "lib") for prefix in prefixes()]
    environment = os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    compile_cpp(
        *STRICT,
        "-fsanitize=undefined",
        "-fno-sanitize-recover",
        f"-I{ROOT / 'include'}",
        *ros_includes(),
        HERE / "print_masks.cpp",
        *(f"-L{library}" for library in libraries),
        "-lsipmask_ros__rosidl_typesupport_fastrtps_cpp",
        "-lfastcdr",
        "-Wl,--allow-shlib-undefined",
        *opencv_flags(),
        "-o",
        program,
    )

    def shown(messages):
        paths = [folder / f"{index}.cdr" for index in range(len(messages))]
        for path, message in zip(paths, messages, strict=True):
            path.write_bytes(serialize_message(message))
        run = subprocess.run(
            [program, *paths], env=environment, capture_output=True, text=True, check=True
        )
        return run.stdout.splitlines()

    return shown


def vector(name):
    return deserialize_message((VECTORS / f"{name}.cdr").read_bytes(), InstanceArray)


def shown_in_python(message):
    crops = message_to_instances(message).mask_crops
    rows = [["".join(map(str, row)) for row in crop.bitmap.astype(int)] for crop in crops]
    return "".join("".join(f"{row}," for row in mask) + ";" for mask in rows)


def broken(name, **changes):
    """Return a vector whose second mask, or whose fields of the array, are changed."""
    message = copy.deepcopy(vector(name))
    for field, value in changes.items():
        where = message.instances[1]
        if field in ("height", "width", "mask_encoding"):
            where = message
        elif field.startswith("roi_"):
            where, field = where.roi, field.removeprefix("roi_")
        setattr(where, field, value)
    return message


BROKEN = [
    ("mono8", {"mask": b"\xff" * 14}),
    ("mono8", {"mask": b""}),
    ("mono8", {"roi_width": 2**32 - 1, "roi_height": 2**32 - 1}),
    ("mono8", {"roi_x_offset": 2**32 - 1}),
    ("mono8", {"roi_y_offset": 478}),
    ("mono8", {"mask_encoding": "png"}),
    ("mono8", {"mask_encoding": "rle"}),
    ("rle", {"mask": b""}),
    ("rle", {"mask": b"bm^1110"}),
    ("rle", {"mask": b"bm^1110m>1O01OSA0m>1]gj"}),
    ("rle", {"mask": b"bm^1110m>1O01OSA0m>1]gj7\x0f"}),
    ("rle", {"mask": b"bm^1110m>1O01OSA0m>1]gj71"}),
    ("rle", {"mask": b"oooooooo1"}),
    ("rle", {"mask": b"O00"}),
    ("rle", {"roi_x_offset": 636}),
    ("rle", {"height": 481}),
    ("rle", {"height": 2**32 - 1, "width": 2**32 - 1}),
]


@pytest.mark.parametrize("name", ["mono8", "rle", "empty"])
def test_cpp_shows_the_masks_of_the_vectors(name, shown_in_cpp):
    rows = json.loads((VECTORS / f"instance_array_{name}.json").read_text("utf-8"))["masks"]
    wanted = "".join("".join(f"{row}," for row in mask) + ";" for mask in rows)
    assert shown_in_cpp([vector(f"instance_array_{name}")]) == [wanted]


def test_cpp_refuses_what_python_refuses(shown_in_cpp):
    messages = [broken(f"instance_array_{name}", **changes) for name, changes in BROKEN]
    for line, message, case in zip(shown_in_cpp(messages), messages, BROKEN, strict=True):
        with pytest.raises(InputError):
            message_to_instances(message)
        assert line.startswith("refused: ") and line.endswith("."), case


def test_a_rectangle_that_cuts_its_mask_shows_what_is_in_it(shown_in_cpp):
    parts = [
        {"roi_x_offset": 101, "roi_width": 3},
        {"roi_y_offset": 51, "roi_height": 1},
        {"roi_x_offset": 90, "roi_y_offset": 0, "roi_width": 30, "roi_height": 480},
    ]
    whole = [broken("instance_array_rle", **part) for part in parts]
    full = broken("instance_array_rle", mask=run_lengths([0, 480 * 640]), **parts[2])
    messages = [*whole, full]
    assert shown_in_cpp(messages) == [shown_in_python(message) for message in messages]


def run_lengths(counts):
    from pycocotools import mask as coco_mask

    return coco_mask.frPyObjects({"size": [480, 640], "counts": counts}, 480, 640)["counts"]


def test_masks_hpp_needs_neither_ros_nor_opencv():
    source = """
#include <sipmask_ros/masks.hpp>
struct Roi { std::uint32_t x_offset, y_offset, height, width; };
struct One { Roi roi; std::vector<std::uint8_t> mask; };
struct All { std::uint32_t height, width; std::string mask_encoding; std::vector<One> instances; };
sipmask_ros::Mask first(const All & all, std::vector<std::uint8_t> & buffer)
{ return sipmask_ros::mask_of(all, all.instances.front(), buffer); }
"""
    compile_cpp(*STRICT, f"-I{ROOT / 'include'}", "-fsyntax-only", "-xc++", "-", source=source)


def test_the_example_of_the_documentation_compiles():
    (source,) = re.findall(r"```cpp\n(.*?)```", (ROOT / "docs" / "cpp.md").read_text(), re.DOTALL)
    includes = [f"-I{ROOT / 'include'}", *ros_includes(), *opencv_flags()]
    compile_cpp(*STRICT, *includes, "-fsyntax-only", "-xc++", "-", source=source)


def test_the_headers_are_installed_beside_those_of_the_messages():
    include = Path(get_package_prefix("sipmask_ros")) / "include" / "sipmask_ros" / "sipmask_ros"
    for path in (ROOT / "include" / "sipmask_ros").iterdir():
        assert (include / path.name).read_text() == path.read_text()
        assert (include / "msg").is_dir()
