// Print what the masks of InstanceArrays show: print_masks FILE.cdr ...
//
// For each file a line, with the rows of each mask between commas and semicolons between masks, or
// "refused: " and why.

#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <fastcdr/Cdr.h>
#include <fastcdr/FastBuffer.h>

#include <sipmask_ros/masks_opencv.hpp>
#include <sipmask_ros/msg/detail/instance_array__rosidl_typesupport_fastrtps_cpp.hpp>
#include <sipmask_ros/msg/instance_array.hpp>

using sipmask_ros::msg::InstanceArray;

InstanceArray read(const std::string & path)
{
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  eprosima::fastcdr::FastBuffer buffer(bytes.data(), bytes.size());
  eprosima::fastcdr::Cdr cdr(
    buffer, eprosima::fastcdr::Cdr::DEFAULT_ENDIAN, eprosima::fastcdr::CdrVersion::XCDRv1);
  cdr.read_encapsulation();
  InstanceArray array;
  sipmask_ros::msg::typesupport_fastrtps_cpp::cdr_deserialize(cdr, array);
  return array;
}

std::string shown(const InstanceArray & array)
{
  std::ostringstream text;
  std::vector<std::uint8_t> buffer;
  for (const auto & instance : array.instances) {
    const auto mask = sipmask_ros::mask_of(array, instance, buffer);
    if (array.mask_encoding == "mono8" && mask.data != instance.mask.data()) {
      throw std::logic_error("a copy was made");
    }
    const cv::Mat matrix = sipmask_ros::matrix_of(mask);
    const cv::Rect rectangle = sipmask_ros::rectangle_of(mask);
    if (
      matrix.data != mask.data || matrix.type() != CV_8UC1 || matrix.rows != rectangle.height ||
      matrix.cols != rectangle.width || rectangle.x != static_cast<int>(instance.roi.x_offset) ||
      rectangle.y != static_cast<int>(instance.roi.y_offset))
    {
      throw std::logic_error("the matrix is another");
    }
    for (int row = 0; row < matrix.rows; ++row) {
      for (int column = 0; column < matrix.cols; ++column) {
        text << (matrix.data[row * matrix.cols + column] == 255);
      }
      text << ',';
    }
    text << ';';
  }
  return text.str();
}

int main(int count, char ** paths)
{
  for (int i = 1; i < count; ++i) {
    try {
      std::cout << shown(read(paths[i])) << '\n';
    } catch (const std::invalid_argument & error) {
      std::cout << "refused: " << error.what() << '\n';
    }
  }
}
