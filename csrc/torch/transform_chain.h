// transform_chain and its gradients over tensors, written once for every backend.
#pragma once

#include <optional>
#include <tuple>

#include "core/transform_chain.h"
#include "torch/bias_field.h"
#include "torch/spline_warp.h"

namespace medadv {

using OptionalTensor = std::optional<Tensor>;

// What a chain is made of besides the image: contiguous tensors, and what their shapes say.
struct ChainStages {
  Sampling s;
  Lattice motion, gain;
  OptionalTensor displacement, log_gain, noise;
  std::vector<double> bounds;
  double origin;

  template <typename S>
  Chain<Arithmetic<S>, S> of(const Tensor& image) const {
    using T = Arithmetic<S>;
    const T infinity = std::numeric_limits<T>::infinity();
    const bool clips = !bounds.empty();
    return {s, motion, gain, channels(log_gain), channels(noise), T(origin), clips ? T(bounds[0]) : -infinity,
            clips ? T(bounds[1]) : infinity, clips, pointer<S>(image), optional<S>(displacement),
            optional<S>(log_gain), optional<S>(noise)};
  }

 private:
  static int64_t channels(const OptionalTensor& t) { return t ? t->size(1) : 0; }
  template <typename S>
  static const S* optional(const OptionalTensor& t) {
    return t ? pointer<S>(*t) : nullptr;
  }
};

inline void check_noise(const char* op, const Tensor& noise, const Tensor& image) {
  std::vector<int64_t> shared = shape(image);
  shared[1] = 1;
  check(shape(noise) == shape(image) || shape(noise) == shared, op, ": noise must have the shape of image, ",
        text(image.sizes()), ", or one channel for all, got ", text(noise.sizes()));
  check_like(op, "noise", noise, "image", image);
}

// The coarsest lattice, for a stage that is left out.
inline Lattice coarsest_lattice(const Sampling& s) {
  return {s.axes == 3 ? Axis{s.z, 4} : Axis{1, 1}, Axis{s.y, 4}, Axis{s.x, 4}};
}

inline ChainStages check_chain(const char* op, const Tensor& image, const OptionalTensor& displacement,
                               const OptionalTensor& log_gain, const OptionalTensor& noise,
                               const std::vector<double>& bounds, double origin, int64_t interpolation,
                               int64_t padding) {
  Sampling s = check_sampling(op, "image", image, interpolation, padding);
  check_floating(op, "image", image);
  check(bounds.empty() || (bounds.size() == 2 && bounds[0] <= bounds[1]), op,
        ": bounds must be low and high, low not above high, got ", text(bounds));
  ChainStages stages{s, coarsest_lattice(s), coarsest_lattice(s), {}, {}, {}, bounds, log_gain ? origin : 0.0};
  if (displacement) {
    check_like(op, "displacement", *displacement, "image", image);
    stages.motion = check_displacement_lattice(op, *displacement, s, "displacement");
    stages.displacement = make_contiguous(*displacement);
  } else {
    stages.s.interpolation = Interpolation::nearest;
  }
  if (log_gain) {
    stages.gain = check_gain_lattice(op, *log_gain, image, "log_gain");
    stages.log_gain = make_contiguous(*log_gain);
  }
  if (noise) {
    check_noise(op, *noise, image);
    stages.noise = make_contiguous(*noise);
  }
  return stages;
}

template <typename Backend>
Tensor transform_chain(const Tensor& image, const OptionalTensor& displacement, const OptionalTensor& log_gain,
                       const OptionalTensor& noise, std::vector<double> bounds, double origin, int64_t interpolation,
                       int64_t padding) {
  constexpr const char* op = "transform_chain";
  const typename Backend::Scope scope(image);
  const ChainStages stages =
      check_chain(op, image, displacement, log_gain, noise, bounds, origin, interpolation, padding);
  const Tensor x = make_contiguous(image);
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  dispatch_floating(op, "image", x.scalar_type(), [&]<typename S>() {
    Backend::template transform_chain<Arithmetic<S>, S>(scope, stages.of<S>(x), mutable_pointer<S>(out));
  });
  return out;
}

// wanted: sum of 1, 2, 4, 8 for the gradients to image, displacement, log_gain and noise.
template <typename Backend>
std::tuple<Tensor, Tensor, Tensor, Tensor> transform_chain_backward(
    const Tensor& grad, const Tensor& image, const OptionalTensor& displacement, const OptionalTensor& log_gain,
    const OptionalTensor& noise, std::vector<double> bounds, double origin, int64_t interpolation, int64_t padding,
    int64_t wanted) {
  constexpr const char* op = "transform_chain_backward";
  const typename Backend::Scope scope(image);
  const ChainStages stages =
      check_chain(op, image, displacement, log_gain, noise, bounds, origin, interpolation, padding);
  check_same_shape(op, "grad", grad, "image", image);
  const Tensor d = make_contiguous(grad), x = make_contiguous(image);
  const OptionalTensor arguments[4] = {x, stages.displacement, stages.log_gain, stages.noise};
  std::vector<Tensor> grads;
  for (int k = 0; k < 4; ++k) {
    const bool is_wanted = wanted >> k & 1;
    check(!is_wanted || arguments[k], op, ": wanted must name gradients to what is given, got ", wanted);
    const std::vector<int64_t> size = is_wanted ? shape(*arguments[k]) : std::vector<int64_t>{0};
    const bool is_written = !empty(x) && (k == 0 || k == 3);  // lattices keep zeros where a nearest sample moves
    grads.push_back(is_written ? new_output(x, size) : new_sums(x, size));
  }
  // To what moves a nearest sample the gradient is zero: it is piecewise constant.
  const bool moves = stages.s.interpolation != Interpolation::nearest;
  if (!empty(x))
    dispatch_floating(op, "image", x.scalar_type(), [&]<typename S>() {
      const auto to = [&](int k) { return wanted >> k & 1 ? mutable_pointer<S>(grads[size_t(k)]) : nullptr; };
      Backend::template transform_chain_backward<Arithmetic<S>, S>(
          scope, stages.of<S>(x), pointer<S>(d), ChainGradients<S>{to(0), moves ? to(1) : nullptr, to(2), to(3)});
    });
  return {grads[0], grads[1], grads[2], grads[3]};
}

}  // namespace medadv
