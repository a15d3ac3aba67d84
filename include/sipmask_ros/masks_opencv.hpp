// Masks of a sipmask_ros/InstanceArray as OpenCV has them. Link opencv_core for it.

#ifndef SIPMASK_ROS__MASKS_OPENCV_HPP_
#define SIPMASK_ROS__MASKS_OPENCV_HPP_

#include <cstdint>

#include <opencv2/core.hpp>

#include "sipmask_ros/masks.hpp"

namespace sipmask_ros
{

// Return a mask as CV_8UC1, without a copy: the matrix is good as long as the mask, and not to be
// written to.
inline cv::Mat matrix_of(const Mask & mask)
{
  return cv::Mat(
    static_cast<int>(mask.height), static_cast<int>(mask.width), CV_8UC1,
    const_cast<std::uint8_t *>(mask.data));
}

// Return where in the image a mask lies, so that image(rectangle_of(mask)) is what it covers.
inline cv::Rect rectangle_of(const Mask & mask)
{
  return cv::Rect(
    static_cast<int>(mask.x), static_cast<int>(mask.y), static_cast<int>(mask.width),
    static_cast<int>(mask.height));
}

}  // namespace sipmask_ros

#endif  // SIPMASK_ROS__MASKS_OPENCV_HPP_
