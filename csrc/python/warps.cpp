// Definitions: warps by a dense displacement.
#include "core/warp.h"
#include "python/arrays.h"
#include "python/definitions.h"

namespace medadv {
namespace {

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

}  // namespace

void define_warps(py::module_& m) {
  m.def("warp", &warp, py::arg("image"), py::arg("displacement"), py::arg("interpolation"), py::arg("padding"),
        "warp of one channel; interpolation and padding by number.");
  m.def("warp_gradients", &warp_gradients, py::arg("grad"), py::arg("image"), py::arg("displacement"),
        py::arg("interpolation"), py::arg("padding"), "Its gradients to image and displacement.");
}

}  // namespace medadv
