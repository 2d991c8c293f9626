// Lengths of rows over tensors, and rows of length 1, written once for every backend.
#pragma once

#include <optional>

#include "core/row_length.h"
#include "torch/common.h"

namespace medadv {

struct Rows {
  int64_t count, entries;
};

// The rows of a tensor [N, ...].
inline Rows rows_of(const char* op, const char* name, const Tensor& t) {
  check(t.dim() >= 1, op, ": ", name, " must have at least one axis, that of the rows, got a single number");
  Rows rows{t.size(0), 1};
  for (int64_t d = 1; d < t.dim(); ++d) rows.entries *= t.size(d);
  return rows;
}

inline RowNorm row_norm(const char* op, int64_t norm) {
  check(norm >= 0 && norm <= 2, op, ": norm must be 0 (linf), 1 (l1) or 2 (l2), got ", norm);
  return RowNorm(norm);
}

// Writes the lengths of contiguous rows, measured from others or from zero (null).
template <typename Backend, typename S>
void write_row_lengths(const typename Backend::Scope& scope, RowNorm norm, const Rows& rows, const S* x,
                       const S* origin, double* lengths) {
  switch (norm) {
    case RowNorm::linf:
      return Backend::template row_lengths<RowNorm::linf>(scope, rows.count, rows.entries, x, origin, lengths);
    case RowNorm::l1:
      return Backend::template row_lengths<RowNorm::l1>(scope, rows.count, rows.entries, x, origin, lengths);
    case RowNorm::l2:
      return Backend::template row_lengths<RowNorm::l2>(scope, rows.count, rows.entries, x, origin, lengths);
  }
}

template <typename Backend>
Tensor row_lengths(const Tensor& values, const std::optional<Tensor>& origin, int64_t norm) {
  const char* op = "row_lengths";
  const Rows rows = rows_of(op, "values", values);
  check_floating(op, "values", values);
  if (origin) check_same_shape(op, "origin", *origin, "values", values);
  const RowNorm kind = row_norm(op, norm);
  const typename Backend::Scope scope(values);
  const Tensor x = make_contiguous(values), o = origin ? make_contiguous(*origin) : x;
  Tensor lengths = make_zeros(x, {rows.count}, ScalarType::Double);
  if (empty(x)) return lengths;
  dispatch_floating(op, "values", x.scalar_type(), [&]<typename S>() {
    write_row_lengths<Backend>(scope, kind, rows, x.const_data_ptr<S>(), origin ? o.const_data_ptr<S>() : nullptr,
                               lengths.mutable_data_ptr<double>());
  });
  return lengths;
}

template <typename Backend>
Tensor unit_rows(const Tensor& values, int64_t norm) {
  const char* op = "unit_rows";
  const Rows rows = rows_of(op, "values", values);
  check_floating(op, "values", values);
  const RowNorm kind = row_norm(op, norm);
  const typename Backend::Scope scope(values);
  const Tensor x = make_contiguous(values);
  Tensor out = new_output(x, shape(x));
  if (empty(x)) return out;
  Tensor lengths = make_empty(x, {rows.count}, ScalarType::Double);
  dispatch_floating(op, "values", x.scalar_type(), [&]<typename S>() {
    const S* in = x.const_data_ptr<S>();
    double* to = lengths.mutable_data_ptr<double>();
    write_row_lengths<Backend, S>(scope, kind, rows, in, nullptr, to);
    Backend::template scaled_rows<S>(scope, rows.count, rows.entries, to, ToUnit{}, in, out.mutable_data_ptr<S>());
  });
  return out;
}

}  // namespace medadv
