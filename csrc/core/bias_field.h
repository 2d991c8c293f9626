// The multiplicative bias field y = x exp(B(c)): what it does at a voxel, and the forces of its gradients.
// T: arithmetic type; S: storage type (float16 and bfloat16 are computed in float32).
#pragma once

#include <cmath>

#include "core/spline_field.h"

namespace medadv {

MEDADV_HD float exact_exp(float v) { return expf(v); }
MEDADV_HD double exact_exp(double v) { return exp(v); }

template <typename T, typename S>
struct BiasVoxel {
  const S* image;
  S* out;
  bool aligned = false;

  MEDADV_HD void operator()(int64_t at, T field) const { out[at] = S(T(image[at]) * exact_exp(field)); }

  MEDADV_HD void quad(int64_t at, int32_t n, const T field[4]) const {
    T x[4];
    load_quad(image + at, n, aligned, x);
    for (int i = 0; i < 4; ++i) x[i] *= exact_exp(field[i]);
    store_quad(out + at, n, aligned, x);
  }
};

// The force g x exp(B) on the lattice, and the gradient g exp(B) to the image.
template <typename T, typename S>
struct BiasForce {
  const S *grad, *image;
  S* grad_image;
  bool aligned = false;

  MEDADV_HD void quad(int64_t at, int32_t n, const T field[4], T force[4]) const {
    T through[4];
    load_quad(grad + at, n, aligned, through);
    load_quad(image + at, n, aligned, force);
    for (int i = 0; i < 4; ++i) {
      through[i] *= exact_exp(field[i]);
      force[i] *= through[i];
    }
    store_quad(grad_image + at, n, aligned, through);
  }
};

// The same force from the output y = x exp(B), without the exponential.
template <typename T, typename S>
struct OutputForce {
  const S *grad, *out;
  bool aligned = false;

  MEDADV_HD T operator()(int64_t at) const { return T(grad[at]) * T(out[at]); }

  MEDADV_HD void quad(int64_t at, int32_t n, const T*, T force[4]) const {
    T y[4];
    load_quad(grad + at, n, aligned, force);
    load_quad(out + at, n, aligned, y);
    for (int i = 0; i < 4; ++i) force[i] *= y[i];
  }
};

}  // namespace medadv
