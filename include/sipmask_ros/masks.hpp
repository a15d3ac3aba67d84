// The masks of a sipmask_ros/InstanceArray, whichever way they are encoded.
//
// It needs C++17 and neither ROS nor OpenCV: the functions are templates over the message, and any
// type with the fields of InstanceArray.msg will do. masks_opencv.hpp makes a cv::Mat of a mask.

#ifndef SIPMASK_ROS__MASKS_HPP_
#define SIPMASK_ROS__MASKS_HPP_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace sipmask_ros
{

// Most pixels of an image whose masks are decoded from run lengths, as in Python.
constexpr std::uint64_t most_pixels = std::uint64_t{1} << 27;

// A mask within its rectangle of the image. The bytes belong to somebody else.
struct Mask
{
  const std::uint8_t * data;  // height rows of width bytes: 255 is object, 0 is not
  std::uint32_t x;  // the mask's first pixel is pixel (x, y) of the image
  std::uint32_t y;
  std::uint32_t width;
  std::uint32_t height;
};

namespace detail
{

// Reads the numbers of COCO's compressed run lengths. Each character from '0' on holds six bits:
// five of payload, least significant first, and one that says whether more follow. (pycocotools,
// common/maskApi.c)
class RunLengths
{
public:
  RunLengths(const std::uint8_t * text, std::size_t length)
  : next_(text), end_(text + length) {}

  bool at_end() const {return next_ == end_;}

  // From the fourth on, a number is the difference to the run two before.
  std::int64_t next()
  {
    const std::int64_t run = number() + (read_ > 2 ? before_last_ : 0);
    before_last_ = last_;
    last_ = run;
    ++read_;
    return run;
  }

private:
  std::int64_t number()
  {
    std::int64_t value = 0;
    for (int shift = 0; shift < 30; ) {
      const int code = next_ == end_ ? -1 : *next_++ - '0';
      if (code < 0 || code > 63) {
        break;
      }
      value |= static_cast<std::int64_t>(code & 31) << shift;
      shift += 5;
      if (!(code & 32)) {
        return code & 16 ? value - (std::int64_t{1} << shift) : value;
      }
    }
    throw std::invalid_argument("The mask is not a compressed run-length string.");
  }

  const std::uint8_t * next_;
  const std::uint8_t * end_;
  std::size_t read_ = 0;
  std::int64_t last_ = 0;
  std::int64_t before_last_ = 0;
};

}  // namespace detail

// Decode the part of a mask of run lengths that lies in a rectangle of the image.
//
// counts: the compressed string, for an image of height x width pixels. roi: with x_offset,
// y_offset, height and width; it must lie in the image. decoded: becomes roi.height rows of
// roi.width bytes, 0 or 255; its memory is used again.
//
// Throw std::invalid_argument if the string is not one of run lengths that fill the image.
template<typename Roi>
void decode_rle(
  const std::uint8_t * counts, std::size_t length, std::uint32_t height, std::uint32_t width,
  const Roi & roi, std::vector<std::uint8_t> & decoded)
{
  const std::uint64_t pixels = std::uint64_t{height} * width;
  decoded.assign(std::size_t{roi.height} * roi.width, 0);
  std::uint64_t place = 0;  // the runs go down the columns
  bool object = false;
  for (detail::RunLengths runs(counts, length); !runs.at_end(); object = !object) {
    const std::int64_t run = runs.next();
    if (run < 0 || static_cast<std::uint64_t>(run) > pixels - place) {
      throw std::invalid_argument("The run lengths of the mask do not fill its image.");
    }
    const std::uint64_t end = place + static_cast<std::uint64_t>(run);
    while (object && place < end) {
      const std::uint64_t column = place / height;
      const std::uint64_t below = std::min(end, (column + 1) * height);  // the column's part ends
      const std::uint64_t left = column - roi.x_offset;  // wraps to the left of the rectangle
      if (left < roi.width) {
        const std::uint64_t bottom = std::min<std::uint64_t>(
          below - column * height, std::uint64_t{roi.y_offset} + roi.height);
        for (std::uint64_t row = std::max<std::uint64_t>(place - column * height, roi.y_offset);
          row < bottom; ++row)
        {
          decoded[(row - roi.y_offset) * roi.width + left] = 255;
        }
      }
      place = below;
    }
    place = end;
  }
  if (place != pixels) {
    throw std::invalid_argument("The run lengths of the mask do not fill its image.");
  }
}

// Return the mask of one of an array's instances.
//
// A mask of mono8 is that in the message, without a copy; one of rle is decoded into `buffer`, so
// that the memory of the mask before is used again. The result is good until the message or the
// buffer changes.
//
// Throw std::invalid_argument if the mask does not fit its rectangle or does not decode, or if the
// rectangle does not fit the image.
template<typename InstanceArray, typename Instance>
Mask mask_of(
  const InstanceArray & array, const Instance & instance, std::vector<std::uint8_t> & buffer)
{
  const auto & roi = instance.roi;
  if (std::uint64_t{roi.x_offset} + roi.width > array.width ||
    std::uint64_t{roi.y_offset} + roi.height > array.height)
  {
    throw std::invalid_argument("The rectangle of the mask goes beyond its image.");
  }
  Mask mask{instance.mask.data(), roi.x_offset, roi.y_offset, roi.width, roi.height};
  if (array.mask_encoding == "rle") {
    if (std::uint64_t{array.height} * array.width > most_pixels) {
      throw std::invalid_argument(
              "With rle, images of at most " + std::to_string(most_pixels) + " pixels are decoded.");
    }
    decode_rle(
      instance.mask.data(), instance.mask.size(), array.height, array.width, roi, buffer);
    mask.data = buffer.data();
  } else if (array.mask_encoding != "mono8") {
    throw std::invalid_argument("The mask_encoding is neither mono8 nor rle.");
  } else if (instance.mask.size() != std::uint64_t{roi.height} * roi.width) {
    throw std::invalid_argument("The mask has not one byte for each pixel of its rectangle.");
  }
  return mask;
}

}  // namespace sipmask_ros

#endif  // SIPMASK_ROS__MASKS_HPP_
