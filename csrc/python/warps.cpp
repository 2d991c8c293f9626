// Definitions: warps by a dense displacement.
#include <algorithm>

#include "core/warp.h"
#include "cpu/tap_gather.h"
#include "python/arrays.h"
#include "python/definitions.h"

namespace medadv {
namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Offsets = py::array_t<int32_t, py::array::c_style>;

template <int kAxes, typename Voxel>
void warp_by(const Array& displacement, const Voxel& voxel) {
  const Sampling& s = voxel.s;
  const DenseDisplacement<double, double, kAxes> read{displacement.data()};
  for (int32_t z = 0; z < s.z; ++z)
    for (int32_t y = 0; y < s.y; ++y)
      for (int32_t x = 0; x < s.x; ++x) {
        const int64_t at = z * s.plane() + int64_t(y) * s.x + x;
        double d[kAxes];
        read(s, 0, at, d);
        voxel(0, at, z, y, x, d);
      }
}

Array warp(const Array& image, const Array& displacement, int interpolation, int padding) {
  const Sampling s = sampling_over(shape_of(image), 1, interpolation, padding);
  Array out(shape_of(image));
  choose_sampling(s, [&]<Interpolation kind, int kAxes>() {
    warp_by<kAxes>(displacement, WarpVoxel<double, double, kind, kAxes>{s, image.data(), out.mutable_data()});
  });
  return out;
}

struct AddInPlace {
  double* sum;
  void operator()(int64_t at, double share) const { sum[at] += share; }
};

std::pair<Array, Array> warp_gradients(const Array& grad, const Array& image, const Array& displacement,
                                       int interpolation, int padding) {
  const Sampling s = sampling_over(shape_of(image), 1, interpolation, padding);
  Array grad_image(shape_of(image)), grad_displacement(shape_of(displacement));
  std::fill_n(grad_image.mutable_data(), grad_image.size(), 0.0);
  choose_sampling(s, [&]<Interpolation kind, int kAxes>() {
    using Gradient = WarpGradient<double, double, double, kind, kAxes, AddInPlace>;
    warp_by<kAxes>(displacement, Gradient{s, grad.data(), image.data(), grad_displacement.mutable_data(),
                                          {grad_image.mutable_data()}});
  });
  return {grad_image, grad_displacement};
}

// The taps of some voxels, [lines * width, voxels]: the fastest way here, or one by one.
template <int kLines, int kWidth>
py::array_t<float> taps_of_lines(const Floats& image, const Offsets& first, const std::vector<int32_t>& line,
                                 bool fastest) {
  const int32_t n = int32_t(first.size()), stride = (n / cpu::kGatherPack + 1) * cpu::kGatherPack;
  cpu::TapLines<float, kLines, kWidth> lines{image.data(), image.size(), {}};
  std::copy_n(line.begin(), kLines, lines.line);
  std::vector<int32_t> padded(size_t(stride), -1);
  std::copy_n(first.data(), n, padded.begin());
  std::vector<float> taps(kLines * kWidth * size_t(stride));
  (fastest ? cpu::gather_taps<float, float, kLines, kWidth> : cpu::copy_taps<float, float, kLines, kWidth>)(
      lines, padded.data(), n, taps.data(), stride);
  py::array_t<float> out({kLines * kWidth, n});
  for (int k = 0; k < kLines * kWidth; ++k) std::copy_n(&taps[size_t(k) * stride], n, out.mutable_data(k, 0));
  return out;
}

py::array_t<float> gather_taps(const Floats& image, const Offsets& first, const std::vector<int32_t>& line, int width,
                               bool fastest) {
  if (line.size() == 2 && width == 2) return taps_of_lines<2, 2>(image, first, line, fastest);
  if (line.size() == 4 && width == 2) return taps_of_lines<4, 2>(image, first, line, fastest);
  if (line.size() == 4 && width == 4) return taps_of_lines<4, 4>(image, first, line, fastest);
  throw py::value_error("taps are 2 or 4 lines of 2, or 4 lines of 4");
}

}  // namespace

void define_warps(py::module_& m) {
  m.def("warp", &warp, py::arg("image"), py::arg("displacement"), py::arg("interpolation"), py::arg("padding"),
        "warp of one channel; interpolation and padding by number.");
  m.def("warp_gradients", &warp_gradients, py::arg("grad"), py::arg("image"), py::arg("displacement"),
        py::arg("interpolation"), py::arg("padding"), "Its gradients to image and displacement.");
  m.def("gather_taps", &gather_taps, py::arg("image"), py::arg("first"), py::arg("line"), py::arg("width"),
        py::arg("fastest"), "Copies of the taps of voxels that land at some offsets; 0 where those are negative.");
}

}  // namespace medadv
