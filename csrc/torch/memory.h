// Arguments and results of kernels as torch's tensors, without its dispatcher: that looks every call up by name, which
// takes longer than a kernel does on a small image.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

namespace medadv {

inline torch::stable::Tensor make_contiguous(const torch::stable::Tensor& t) {
  return t.is_contiguous() ? t : torch::stable::contiguous(t);
}

// Contiguous, of the device of `like`, and of its dtype if none is named.
inline torch::stable::Tensor make_empty(const torch::stable::Tensor& like, const std::vector<int64_t>& sizes,
                                       std::optional<torch::headeronly::ScalarType> type = std::nullopt) {
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t d = sizes.size(); d-- > 1;) strides[d - 1] = strides[d] * std::max<int64_t>(sizes[d], 1);
  int32_t device_type, device_index, dtype;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &device_index));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  if (type) dtype = torch::stable::detail::to<int32_t>(torch::stable::detail::from(*type));
  AtenTensorHandle out;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(int64_t(sizes.size()), sizes.data(), strides.data(), dtype,
                                                  device_type, device_index, &out));
  return torch::stable::Tensor(out);
}

inline torch::stable::Tensor make_zero(torch::stable::Tensor& t) {
  if (!t.is_cpu()) return torch::stable::zero_(t);
  std::memset(t.mutable_data_ptr(), 0, size_t(t.numel()) * size_t(t.element_size()));
  return t;
}

inline torch::stable::Tensor make_zeros(const torch::stable::Tensor& like, const std::vector<int64_t>& sizes,
                                       std::optional<torch::headeronly::ScalarType> type = std::nullopt) {
  torch::stable::Tensor out = make_empty(like, sizes, type);
  return make_zero(out);
}

}  // namespace medadv
