// Checks, shapes and dtypes that every operator shares.
#pragma once

#ifndef MEDADV_TENSOR  // else python/tensor.h has put NumPy arrays in their place
#include "torch/memory.h"
#endif
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/bias_field.h"
#include "core/volume.h"
#include "cpu/pages.h"

namespace medadv {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Throws what Python sees as a ValueError, with these words and nothing else.
template <typename... Words>
void check(bool fine, const Words&... words) {
  if (fine) return;
  std::ostringstream message;
  ((message << words), ...);
  throw std::invalid_argument(message.str());
}

// Numbers in a sentence, written out only where one is said.
template <typename Sizes>
struct Listed {
  const Sizes& sizes;

  friend std::ostream& operator<<(std::ostream& out, const Listed& list) {
    out << '[';
    for (size_t d = 0; d < list.sizes.size(); ++d) out << (d ? ", " : "") << list.sizes[d];
    return out << ']';
  }
};

template <typename Sizes>
Listed<Sizes> text(const Sizes& sizes) {
  return {sizes};
}

inline std::vector<int64_t> shape(const Tensor& t) {
  const auto& sizes = t.sizes();
  return {sizes.begin(), sizes.end()};
}

// Calls f.operator()<S>() with the storage type of a floating dtype.
template <typename F>
void dispatch_floating(const char* op, const char* argument, ScalarType type, F&& f) {
  switch (type) {
    case ScalarType::Float: return f.template operator()<float>();
    case ScalarType::Double: return f.template operator()<double>();
    case ScalarType::Half: return f.template operator()<torch::headeronly::Half>();
    case ScalarType::BFloat16: return f.template operator()<torch::headeronly::BFloat16>();
    default:
      check(false, op, ": ", argument, " must be float16, bfloat16, float32 or float64, got ",
            torch::headeronly::toString(type));
  }
}

// float16 and bfloat16 are stored as such and computed in float32.
template <typename S>
using Arithmetic = std::conditional_t<std::is_same_v<S, double>, double, float>;

inline void check_floating(const char* op, const char* argument, const Tensor& t) {
  dispatch_floating(op, argument, t.scalar_type(), []<typename S>() {});
}

inline void check_like(const char* op, const char* name, const Tensor& t, const char* other_name, const Tensor& other) {
  const ScalarType type = t.scalar_type(), wanted = other.scalar_type();
  check(type == wanted, op, ": ", name, " must have the dtype of ", other_name, ", ",
        torch::headeronly::toString(wanted), ", got ", torch::headeronly::toString(type));
  check(t.device() == other.device(), op, ": ", name, " must be on the device of ", other_name);
}

inline void check_same_shape(const char* op, const char* name, const Tensor& t, const char* other_name,
                             const Tensor& other) {
  check(t.sizes() == other.sizes(), op, ": ", name, " must have the shape of ", other_name, ", ", text(other.sizes()),
        ", got ", text(t.sizes()));
  check_like(op, name, t, other_name, other);
}

// A lattice [N, K, (Gz,) Gy, Gx] over an image of the given size (depth 1 where there is none); name: the argument's.
inline Lattice lattice_over(const char* op, const Tensor& lattice, const std::vector<int64_t>& size,
                            const char* name = "lattice") {
  const auto knots = shape(lattice);
  check(knots.size() == size.size() + 2, op, ": ", name, " must be [N, K, ", size.size() == 3 ? "Gz, " : "",
        "Gy, Gx], got ", text(knots));
  Axis axes[3] = {{1, 1}, {1, 1}, {1, 1}};
  for (size_t d = 0; d < size.size(); ++d) {
    const int64_t k = knots[d + 2], limit = std::numeric_limits<int32_t>::max();
    check(k >= 4, op, ": ", name, " must have at least 4 control points along every axis, got ", text(knots));
    check(size[d] <= limit && k <= limit && (size[d] == 0 || (size[d] - 1) <= limit / (k - 3)), op,
          ": voxels times control points along one axis must stay below 2^31, got ", size[d], " and ", k);
    axes[3 - size.size() + d] = {int32_t(size[d]), int32_t(k)};
  }
  return {axes[0], axes[1], axes[2]};
}

// Planes of an image, or of its lattice, are counted in 32 bits on a GPU.
inline void check_planes(const char* op, const Lattice& g, int64_t channels) {
  const int64_t limit = std::numeric_limits<int32_t>::max(),
                depth = std::max<int64_t>({1, g.z.size, g.z.knots});
  check(channels <= limit / depth, op, ": images times channels times depth must stay below 2^31, got ", channels,
        " and ", depth);
}

// Voxels of an image [N, C, (D,) H, W].
inline Volume volume_of(const char* op, const char* name, const Tensor& image) {
  check(image.dim() == 4 || image.dim() == 5, op, ": ", name, " must be [N, C, H, W] or [N, C, D, H, W], got ",
        text(image.sizes()));
  check_floating(op, name, image);
  int32_t size[3] = {1, 1, 1};
  for (int64_t d = 2; d < image.dim(); ++d) {
    check(image.size(d) <= std::numeric_limits<int32_t>::max(), op, ": ", name,
          " must have fewer than 2^31 voxels along every axis, got ", text(image.sizes()));
    size[d + 3 - image.dim()] = int32_t(image.size(d));
  }
  const int64_t limit = std::numeric_limits<int32_t>::max(), depth = std::max(1, size[0]);
  check(image.size(0) * image.size(1) <= limit / depth, op,
        ": images times channels times depth must stay below 2^31, got ", image.size(0) * image.size(1), " and ",
        depth);
  return {size[0], size[1], size[2]};
}

inline bool empty(const Tensor& t) { return t.numel() == 0; }

// A result of the dtype and device of `like`, for a kernel to write.
inline Tensor new_output(const Tensor& like, const std::vector<int64_t>& sizes) {
  Tensor out = make_empty(like, sizes);
  if (out.is_cpu()) cpu::prefer_large_pages(out.mutable_data_ptr(), size_t(out.numel()) * out.element_size());
  return out;
}

// The same, for a kernel to add to.
inline Tensor new_sums(const Tensor& like, const std::vector<int64_t>& sizes) {
  Tensor out = new_output(like, sizes);
  return make_zero(out);
}

}  // namespace medadv
