// Noise added to images and projected into a ball over tensors, written once for every backend.
#pragma once

#include <cmath>
#include <tuple>

#include "core/noise.h"
#include "torch/row_length.h"

namespace medadv {

// Calls f.operator()<S>() with float or double: a budget is held to the last bit of these.
template <typename F>
void dispatch_exact(const char* op, ScalarType type, F&& f) {
  if (type == ScalarType::Float) return f.template operator()<float>();
  if (type == ScalarType::Double) return f.template operator()<double>();
  check(false, op, ": image must be float32 or float64, got ", torch::headeronly::toString(type));
}

inline void check_noise(const char* op, const Tensor& image, const Tensor& noise, double low, double high) {
  dispatch_exact(op, image.scalar_type(), []<typename S>() {});
  check_same_shape(op, "noise", noise, "image", image);
  check(low <= high, op, ": low must not be above high, got ", low, " and ", high);
}

template <typename Backend>
Tensor add_noise(const Tensor& image, const Tensor& noise, const std::optional<Tensor>& towards, double low,
                 double high) {
  check_noise("add_noise", image, noise, low, high);
  if (towards) check_same_shape("add_noise", "towards", *towards, "image", image);
  const typename Backend::Scope scope(image);
  const Tensor x = make_contiguous(image), d = make_contiguous(noise),
               target = towards ? make_contiguous(*towards) : x;
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  dispatch_exact("add_noise", x.scalar_type(), [&]<typename S>() {
    Backend::noise(scope, x.numel(),
                   NoisyImage<S>{x.const_data_ptr<S>(), d.const_data_ptr<S>(), target.const_data_ptr<S>(), S(low),
                                 S(high), out.mutable_data_ptr<S>()});
  });
  return out;
}

inline void check_ball_norm(const char* op, int64_t norm) {
  check(norm == int64_t(RowNorm::linf) || norm == int64_t(RowNorm::l2), op, ": norm must be 0 (linf) or 2 (l2), got ",
        norm);
}

// An entry that is scaled in float64 is rounded once: twice that is on the safe side.
template <typename S>
inline constexpr double kWithin = 1 - 2.0 * std::numeric_limits<S>::epsilon();

template <typename Backend>
Tensor project_noise(const Tensor& image, const Tensor& noise, double low, double high, double radius, int64_t norm) {
  const char* op = "project_noise";
  check_noise(op, image, noise, low, high);
  check(radius >= 0, op, ": radius must not be negative, got ", radius);
  check_ball_norm(op, norm);
  const Rows rows = rows_of(op, "image", image);
  const typename Backend::Scope scope(image);
  const Tensor x = make_contiguous(image), d = make_contiguous(noise);
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  dispatch_exact(op, x.scalar_type(), [&]<typename S>() {
    S* to = out.mutable_data_ptr<S>();
    ClippedNoise<S> voxel{x.const_data_ptr<S>(), d.const_data_ptr<S>(), S(low), S(high), radius_within<S>(radius), to};
    if (norm == int64_t(RowNorm::linf)) return Backend::noise(scope, x.numel(), voxel);
    voxel.radius = std::numeric_limits<S>::infinity();
    Tensor lengths = make_empty(x, {rows.count}, ScalarType::Double);
    double* of = lengths.mutable_data_ptr<double>();
    Backend::clipped_rows(scope, rows.count, rows.entries, voxel, of);
    Backend::template scaled_rows<S>(scope, rows.count, rows.entries, of, IntoBall{radius, kWithin<S>}, to, to);
  });
  return out;
}

// The noise after the step, and the image with it.
template <typename Backend>
std::tuple<Tensor, Tensor> sign_step(const Tensor& image, const Tensor& noise, const Tensor& gradient, double length,
                                     double low, double high, double radius) {
  const char* op = "sign_step";
  check_noise(op, image, noise, low, high);
  check_same_shape(op, "gradient", gradient, "image", image);
  check(std::isfinite(length), op, ": length must be finite, got ", length);
  check(radius >= 0, op, ": radius must not be negative, got ", radius);
  const typename Backend::Scope scope(image);
  const Tensor x = make_contiguous(image), d = make_contiguous(noise),
               g = make_contiguous(gradient);
  Tensor stepped = new_output(x, shape(x)), noisy = new_output(x, shape(x));
  if (empty(x)) return {stepped, noisy};
  dispatch_exact(op, x.scalar_type(), [&]<typename S>() {
    Backend::noise(scope, x.numel(),
                   SignStep<S>{x.const_data_ptr<S>(), d.const_data_ptr<S>(), g.const_data_ptr<S>(), S(length), S(low),
                               S(high), radius_within<S>(radius), stepped.mutable_data_ptr<S>(),
                               noisy.mutable_data_ptr<S>()});
  });
  return {stepped, noisy};
}

template <typename Backend>
Tensor unit_step(const Tensor& image, const Tensor& noise, const Tensor& gradient, double length, double low,
                 double high, const Tensor& radius, int64_t norm) {
  const char* op = "unit_step";
  check_noise(op, image, noise, low, high);
  check_same_shape(op, "gradient", gradient, "image", image);
  check(std::isfinite(length), op, ": length must be finite, got ", length);
  check_ball_norm(op, norm);
  const Rows rows = rows_of(op, "image", image);
  check(radius.scalar_type() == ScalarType::Double && radius.dim() == 1 && radius.size(0) == rows.count, op,
        ": radius must be [", rows.count, "] float64, one number per row, got ", text(radius.sizes()), " ",
        torch::headeronly::toString(radius.scalar_type()));
  check(radius.device() == image.device(), op, ": radius must be on the device of image");
  const typename Backend::Scope scope(image);
  const Tensor x = make_contiguous(image), d = make_contiguous(noise), g = make_contiguous(gradient),
               r = make_contiguous(radius);
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  Tensor lengths = make_empty(x, {rows.count}, ScalarType::Double);
  dispatch_exact(op, x.scalar_type(), [&]<typename S>() {
    double* of = lengths.mutable_data_ptr<double>();
    const double* radii = r.const_data_ptr<double>();
    const S* slope = g.const_data_ptr<S>();
    S* to = out.mutable_data_ptr<S>();
    const bool clips = norm == int64_t(RowNorm::linf);
    Backend::template row_lengths<RowNorm::l2, S>(scope, rows.count, rows.entries, slope, nullptr, of);
    Backend::unit_step(scope, rows.count, rows.entries,
                       UnitStep<S>{x.const_data_ptr<S>(), d.const_data_ptr<S>(), slope, of, clips ? radii : nullptr,
                                   length, S(low), S(high), to},
                       clips ? nullptr : of);
    if (clips) return;
    Backend::template scaled_rows<S>(scope, rows.count, rows.entries, of, IntoBalls{radii, kWithin<S>}, to, to);
  });
  return out;
}

}  // namespace medadv
