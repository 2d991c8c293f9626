// gaussian_blur and its adjoint over tensors, written once for every backend.
#pragma once

#include <cmath>

#include "core/gaussian_blur.h"
#include "torch/common.h"

namespace medadv {

// Longer kernels than any image needs would only fill the memory.
inline constexpr int64_t kBlurRadius = 1 << 15;

template <typename Backend>
Tensor blur(const char* op, const Tensor& image, std::vector<double> sigma, int64_t padding, double truncate,
            bool adjoint) {
  const Volume size = volume_of(op, "image", image);
  check(int64_t(sigma.size()) == image.dim() - 2, op, ": sigma must have one entry per axis, ", image.dim() - 2,
        ", got ", sigma.size());
  check(truncate > 0 && std::isfinite(truncate), op, ": truncate must be positive and finite, got ", truncate);
  for (const double s : sigma)
    check(s >= 0 && truncate * s < kBlurRadius, op,
          ": sigma must not be negative, and truncate times sigma stay below ", kBlurRadius, " voxels, got ",
          text(sigma));
  check(padding >= 0 && padding <= 2, op, ": padding must be 0 (reflect), 1 (border) or 2 (zeros), got ", padding);
  sigma.insert(sigma.begin(), 3 - sigma.size(), 0.0);

  const typename Backend::Scope scope(image);
  const Tensor x = make_contiguous(image);
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  dispatch_floating(op, "image", x.scalar_type(), [&]<typename S>() {
    Backend::template gaussian_blur<Arithmetic<S>, S>(scope, size, x.size(0) * x.size(1), sigma.data(),
                                                      BlurPadding(padding), truncate, adjoint, x.const_data_ptr<S>(),
                                                      out.mutable_data_ptr<S>());
  });
  return out;
}

template <typename Backend>
Tensor gaussian_blur(const Tensor& image, std::vector<double> sigma, int64_t padding, double truncate) {
  return blur<Backend>("gaussian_blur", image, std::move(sigma), padding, truncate, false);
}

template <typename Backend>
Tensor gaussian_blur_adjoint(const Tensor& grad, std::vector<double> sigma, int64_t padding, double truncate) {
  return blur<Backend>("gaussian_blur_adjoint", grad, std::move(sigma), padding, truncate, true);
}

}  // namespace medadv
