// warp and its gradients over tensors, written once for every backend.
#pragma once

#include <tuple>

#include "core/warp.h"
#include "torch/common.h"

namespace medadv {

inline constexpr const char* kInterpolations[] = {"nearest", "linear", "cubic"};

// How to sample images of the shape of `like`, which the sentences call `name`.
inline Sampling check_sampling(const char* op, const char* name, const Tensor& like, int64_t interpolation,
                               int64_t padding) {
  check(like.dim() == 4 || like.dim() == 5, op, ": ", name, " must be [N, C, H, W] or [N, C, D, H, W], got ",
        text(like.sizes()));
  check(interpolation >= 0 && interpolation < 3, op, ": interpolation must be 0, 1 or 2, got ", interpolation);
  check(padding >= 0 && padding < 3, op, ": padding must be 0, 1 or 2, got ", padding);
  std::vector<int64_t> size = shape(like);
  size.erase(size.begin(), size.begin() + 2);
  int64_t left = std::numeric_limits<int32_t>::max();
  for (const int64_t n : size) {
    check(n < kFar && n <= left, op, ": an axis must stay below 2^30 voxels and a channel below 2^31, got ",
          text(size));
    left /= std::max<int64_t>(1, n);
  }
  const int32_t axes = int32_t(size.size());
  size.insert(size.begin(), 3 - size.size(), 1);
  const int64_t channels = like.size(0) * std::max<int64_t>(like.size(1), axes);
  check(channels <= std::numeric_limits<int32_t>::max() / std::max<int64_t>(1, size[0]), op,
        ": images times channels times depth must stay below 2^31, got ", channels, " and ", size[0]);
  return {like.size(0), like.size(1), int32_t(size[0]), int32_t(size[1]), int32_t(size[2]), axes,
          Interpolation(interpolation), Padding(padding)};
}

// motion: the displacement or its lattice. Labels are moved by float32, and by nobody's interpolation but nearest.
inline bool check_labels(const char* op, const Tensor& image, const char* motion_name, const Tensor& motion,
                         const Sampling& s) {
  switch (image.scalar_type()) {
    case ScalarType::Bool:
    case ScalarType::Byte:
    case ScalarType::Char:
    case ScalarType::Short:
    case ScalarType::Int:
    case ScalarType::Long: break;
    default: return false;
  }
  check(s.interpolation == Interpolation::nearest, op,
        ": an image of integers must be sampled with interpolation nearest, got ",
        kInterpolations[int(s.interpolation)]);
  check(motion.scalar_type() == ScalarType::Float, op, ": ", motion_name,
        " must be float32 for an image of integers, got ", torch::headeronly::toString(motion.scalar_type()));
  check(motion.device() == image.device(), op, ": ", motion_name, " must be on the device of image");
  return true;
}

// [N, D, *S] for images [N, C, *S].
inline void check_displacement(const char* op, const Tensor& displacement, const Sampling& s) {
  std::vector<int64_t> expected{s.images, s.axes, s.z, s.y, s.x};
  if (s.axes == 2) expected.erase(expected.begin() + 2);
  check(shape(displacement) == expected, op, ": displacement must be ", text(expected),
        ", one component per axis of the image, got ", text(displacement.sizes()));
}

// Calls f.operator()<T, D, S>() for an image of labels or of numbers; labels go by their size.
template <typename F>
void dispatch_image(const char* op, const Tensor& image, bool labels, F&& f) {
  if (!labels)
    return dispatch_floating(op, "image", image.scalar_type(),
                             [&]<typename S>() { f.template operator()<Arithmetic<S>, S, S>(); });
  switch (image.element_size()) {
    case 1: return f.template operator()<float, float, int8_t>();
    case 2: return f.template operator()<float, float, int16_t>();
    case 4: return f.template operator()<float, float, int32_t>();
    default: return f.template operator()<float, float, int64_t>();
  }
}

template <typename S>
const S* pointer(const Tensor& t) {
  return static_cast<const S*>(t.const_data_ptr());
}
template <typename S>
S* mutable_pointer(Tensor& t) {
  return static_cast<S*>(t.mutable_data_ptr());
}

// What moves the voxels of images: a dense displacement, here, or a lattice of one (torch/spline_warp.h). It checks
// its tensor and calls the kernels that know it.
struct DenseMotion {
  static constexpr const char* name = "displacement";

  DenseMotion(const char* op, const Tensor& displacement, const Sampling& s) {
    check_displacement(op, displacement, s);
  }

  template <typename Backend, typename T, typename D, typename S>
  void warp(const typename Backend::Scope& scope, const Sampling& s, const S* image, const D* displacement,
            S* out) const {
    Backend::template warp<T, D, S>(scope, s, image, displacement, out);
  }
  template <typename Backend, typename S>
  void backward(const typename Backend::Scope& scope, const Sampling& s, const S* grad, const S* image,
                const S* displacement, S* grad_image, S* grad_displacement) const {
    Backend::template warp_backward<Arithmetic<S>, S>(scope, s, grad, image, displacement, grad_image,
                                                      grad_displacement);
  }
};

template <typename Backend, typename Motion>
Tensor warp_by(const char* op, const Tensor& image, const Tensor& motion, int64_t interpolation, int64_t padding) {
  const Sampling s = check_sampling(op, "image", image, interpolation, padding);
  const bool labels = check_labels(op, image, Motion::name, motion, s);
  if (!labels) {
    check_floating(op, "image", image);
    check_like(op, Motion::name, motion, "image", image);
  }
  const Motion by(op, motion, s);
  const typename Backend::Scope scope(image);
  const Tensor x = make_contiguous(image), d = make_contiguous(motion);
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  dispatch_image(op, x, labels, [&]<typename T, typename D, typename S>() {
    by.template warp<Backend, T, D, S>(scope, s, pointer<S>(x), pointer<D>(d), mutable_pointer<S>(out));
  });
  return out;
}

enum class Wanted { image, motion, both };

// Gradients to image and motion; one that is not wanted is undefined. To the image alone, `image` is not needed.
template <typename Backend, typename Motion>
std::tuple<Tensor, Tensor> warp_gradients(const char* op, const Tensor& grad, const Tensor* image,
                                          const Tensor& motion, int64_t interpolation, int64_t padding,
                                          Wanted wanted) {
  const Sampling s = check_sampling(op, "grad", grad, interpolation, padding);
  check_floating(op, "grad", grad);
  if (image) check_same_shape(op, "image", *image, "grad", grad);
  check_like(op, Motion::name, motion, "grad", grad);
  const Motion by(op, motion, s);
  const typename Backend::Scope scope(grad);
  const Tensor g = make_contiguous(grad), d = make_contiguous(motion);
  const Tensor x = image ? make_contiguous(*image) : g;
  Tensor grad_image, grad_motion;
  if (wanted != Wanted::motion) grad_image = new_output(g, shape(g));
  if (wanted != Wanted::image) grad_motion = new_sums(d, shape(d));
  // To what moves a nearest sample the gradient is zero: it is piecewise constant.
  const bool to_image = wanted != Wanted::motion;
  const bool to_motion = wanted != Wanted::image && s.interpolation != Interpolation::nearest;
  if (!empty(g) && (to_image || to_motion))
    dispatch_floating(op, "grad", g.scalar_type(), [&]<typename S>() {
      by.template backward<Backend, S>(scope, s, pointer<S>(g), pointer<S>(x), pointer<S>(d),
                                       to_image ? mutable_pointer<S>(grad_image) : nullptr,
                                       to_motion ? mutable_pointer<S>(grad_motion) : nullptr);
    });
  return {grad_image, grad_motion};
}

template <typename Backend>
Tensor warp(const Tensor& image, const Tensor& displacement, int64_t interpolation, int64_t padding) {
  return warp_by<Backend, DenseMotion>("warp", image, displacement, interpolation, padding);
}

template <typename Backend>
std::tuple<Tensor, Tensor> warp_backward(const Tensor& grad, const Tensor& image, const Tensor& displacement,
                                         int64_t interpolation, int64_t padding) {
  return warp_gradients<Backend, DenseMotion>("warp_backward", grad, &image, displacement, interpolation, padding,
                                              Wanted::both);
}

template <typename Backend>
Tensor warp_displacement_backward(const Tensor& grad, const Tensor& image, const Tensor& displacement,
                                  int64_t interpolation, int64_t padding) {
  return std::get<1>(warp_gradients<Backend, DenseMotion>("warp_displacement_backward", grad, &image, displacement,
                                                          interpolation, padding, Wanted::motion));
}

// The adjoint of warping, a linear map of the image: its gradient.
template <typename Backend>
Tensor warp_adjoint(const Tensor& grad, const Tensor& displacement, int64_t interpolation, int64_t padding) {
  return std::get<0>(warp_gradients<Backend, DenseMotion>("warp_adjoint", grad, nullptr, displacement, interpolation,
                                                          padding, Wanted::image));
}

}  // namespace medadv
