// NumPy arrays under the names of torch's stable interface: inside namespace medadv, `torch::stable` then means what is
// below. So the operators of torch/ (checks, sentences, shapes, dtypes) are compiled a second time as they are, over
// arrays and without torch. To be included before any header of torch/.
//
// Arrays are taken where they lie: what is not C-contiguous, aligned and in native byte order is refused.
#pragma once

#define MEDADV_TENSOR  // to torch/common.h: there is a Tensor already

#include <pybind11/numpy.h>
#include <torch/headeronly/core/ScalarType.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace medadv::python {

// One call from Python, which outlives its tensors.
struct Call {
  const char* op;
  int threads;            // at most; 0: as many as there are cores
  pybind11::object out;   // where the result goes; None: into an array of its own
  bool out_used = false;
  std::vector<pybind11::array> arrays = {};  // every array that a tensor refers to

  Call& keep(pybind11::array array) {
    arrays.push_back(std::move(array));
    return *this;
  }
};

}  // namespace medadv::python

namespace medadv::torch {

namespace headeronly = ::torch::headeronly;

namespace stable {

class Tensor {
 public:
  Tensor() = default;
  // An argument of the call; TypeError or ValueError where it cannot be used in place.
  Tensor(python::Call& call, const char* name, const pybind11::object& value);
  // The array that the call keeps last.
  explicit Tensor(python::Call& call);

  int64_t dim() const { return int64_t(shape_.size()); }
  int64_t size(int64_t d) const { return shape_[size_t(d)]; }
  const std::vector<int64_t>& sizes() const { return shape_; }
  int64_t numel() const {
    int64_t count = 1;
    for (const int64_t n : shape_) count *= n;
    return count;
  }
  headeronly::ScalarType scalar_type() const { return type_; }
  int64_t element_size() const { return element_size_; }
  int device() const { return 0; }
  bool is_cpu() const { return true; }

  const void* const_data_ptr() const { return data_; }
  void* mutable_data_ptr() { return data_; }
  template <typename S>
  const S* const_data_ptr() const {
    return static_cast<const S*>(data_);
  }
  template <typename S>
  S* mutable_data_ptr() {
    return static_cast<S*>(data_);
  }

  python::Call& call() const { return *call_; }
  pybind11::array array() const { return call_->arrays[index_]; }

 private:
  python::Call* call_ = nullptr;
  size_t index_ = 0;  // of the array among those of the call
  std::vector<int64_t> shape_;
  headeronly::ScalarType type_{};
  int64_t element_size_ = 0;
  void* data_ = nullptr;
};

}  // namespace stable
}  // namespace medadv::torch

namespace medadv {

inline torch::stable::Tensor make_contiguous(const torch::stable::Tensor& t) { return t; }

inline torch::stable::Tensor make_zero(torch::stable::Tensor& t) {
  std::memset(t.mutable_data_ptr(), 0, size_t(t.numel() * t.element_size()));
  return t;
}

// The first one of a call is its result, and goes to `out` where that is given.
torch::stable::Tensor make_empty(const torch::stable::Tensor& like, const std::vector<int64_t>& shape,
                                 std::optional<torch::headeronly::ScalarType> type = std::nullopt);
torch::stable::Tensor make_zeros(const torch::stable::Tensor& like, const std::vector<int64_t>& shape,
                                 std::optional<torch::headeronly::ScalarType> type = std::nullopt);

}  // namespace medadv
