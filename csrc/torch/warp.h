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
        text(shape(like)));
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
        ", one component per axis of the image, got ", text(shape(displacement)));
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

template <typename Backend>
Tensor warp(const Tensor& image, const Tensor& displacement, int64_t interpolation, int64_t padding) {
  constexpr const char* op = "warp";
  const Sampling s = check_sampling(op, "image", image, interpolation, padding);
  const bool labels = check_labels(op, image, "displacement", displacement, s);
  if (!labels) {
    check_floating(op, "image", image);
    check_like(op, "displacement", displacement, "image", image);
  }
  check_displacement(op, displacement, s);
  const typename Backend::Scope scope(image);
  const Tensor x = torch::stable::contiguous(image), d = torch::stable::contiguous(displacement);
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  dispatch_image(op, x, labels, [&]<typename T, typename D, typename S>() {
    Backend::template warp<T, D, S>(scope, s, pointer<S>(x), pointer<D>(d), mutable_pointer<S>(out));
  });
  return out;
}

// Gradients to image and displacement, each where wanted; to the image, `image` itself is not needed.
template <typename Backend>
void warp_gradients(const char* op, const Tensor& grad, const Tensor* image, const Tensor& displacement,
                    const Sampling& s, Tensor* grad_image, Tensor* grad_displacement) {
  check_floating(op, "grad", grad);
  if (image) check_same_shape(op, "image", *image, "grad", grad);
  check_like(op, "displacement", displacement, "grad", grad);
  check_displacement(op, displacement, s);
  const typename Backend::Scope scope(grad);
  const Tensor g = torch::stable::contiguous(grad), d = torch::stable::contiguous(displacement);
  const Tensor x = image ? torch::stable::contiguous(*image) : g;
  if (grad_image) *grad_image = new_sums(g, shape(g));
  if (grad_displacement) *grad_displacement = new_sums(d, shape(d));
  if (s.interpolation == Interpolation::nearest) grad_displacement = nullptr;  // it is piecewise constant
  if (empty(g) || !(grad_image || grad_displacement)) return;
  dispatch_floating(op, "grad", g.scalar_type(), [&]<typename S>() {
    Backend::template warp_backward<Arithmetic<S>, S>(
        scope, s, pointer<S>(g), pointer<S>(x), pointer<S>(d), grad_image ? mutable_pointer<S>(*grad_image) : nullptr,
        grad_displacement ? mutable_pointer<S>(*grad_displacement) : nullptr);
  });
}

template <typename Backend>
std::tuple<Tensor, Tensor> warp_backward(const Tensor& grad, const Tensor& image, const Tensor& displacement,
                                         int64_t interpolation, int64_t padding) {
  constexpr const char* op = "warp_backward";
  const Sampling s = check_sampling(op, "grad", grad, interpolation, padding);
  Tensor grad_image, grad_displacement;
  warp_gradients<Backend>(op, grad, &image, displacement, s, &grad_image, &grad_displacement);
  return {grad_image, grad_displacement};
}

template <typename Backend>
Tensor warp_displacement_backward(const Tensor& grad, const Tensor& image, const Tensor& displacement,
                                  int64_t interpolation, int64_t padding) {
  constexpr const char* op = "warp_displacement_backward";
  const Sampling s = check_sampling(op, "grad", grad, interpolation, padding);
  Tensor grad_displacement;
  warp_gradients<Backend>(op, grad, &image, displacement, s, nullptr, &grad_displacement);
  return grad_displacement;
}

// The adjoint of warping, a linear map of the image: its gradient.
template <typename Backend>
Tensor warp_adjoint(const Tensor& grad, const Tensor& displacement, int64_t interpolation, int64_t padding) {
  constexpr const char* op = "warp_adjoint";
  const Sampling s = check_sampling(op, "grad", grad, interpolation, padding);
  Tensor grad_image;
  warp_gradients<Backend>(op, grad, nullptr, displacement, s, &grad_image, nullptr);
  return grad_image;
}

}  // namespace medadv
