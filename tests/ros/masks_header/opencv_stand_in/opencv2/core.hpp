// The few names of OpenCV that masks_opencv.hpp and the documentation's example use, for machines
// without OpenCV's C++ headers: it compiles what OpenCV 4 compiles, and only wraps memory.

#pragma once

constexpr int CV_8UC1 = 0;

namespace cv
{

struct Rect
{
  Rect(int x, int y, int width, int height)
  : x(x), y(y), width(width), height(height) {}
  int x, y, width, height;
};

struct Scalar
{
  Scalar(double, double, double) {}
};

struct Mat
{
  Mat(int rows, int cols, int type, void * data)
  : rows(rows), cols(cols), data(static_cast<unsigned char *>(data)), type_(type) {}
  int type() const {return type_;}
  Mat operator()(const Rect & part) const {return Mat(part.height, part.width, type_, data);}
  Mat & setTo(const Scalar &, const Mat &) {return *this;}

  int rows, cols;
  unsigned char * data;

private:
  int type_;
};

}  // namespace cv
