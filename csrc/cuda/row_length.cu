// Lengths of rows: a block joins the parts of a piece of one row, a second kernel those of the pieces. Fixed orders,
// no atomics.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/team.h"
#include "cuda/kernels.h"

namespace medadv::cuda {
namespace {

constexpr int kRowThreads = 256;
constexpr int kRowBlocks = 4;  // per multiprocessor

unsigned axis(int64_t n) { return unsigned(n < 65535 ? n : 65535); }

template <typename S>
__device__ double wide(S value) {
  return double(float(value));
}
__device__ double wide(double value) { return value; }

template <typename S>
__device__ S narrow(double value) {
  return S(float(value));
}
template <>
__device__ double narrow<double>(double value) {
  return value;
}

// Leaves all parts, joined, in part[0].
template <typename Part, typename Team>
__device__ void join_to_first(const Team& team, typename Part::Type (&part)[Team::size]) {
  for (int half = Team::size / 2; half > 0; half /= 2)
    team.each([&](int t) {
      if (t < half) part[t] = Part::join(part[t], part[t + half]);
    });
}

// parts: [row, piece].
template <typename Part, typename S>
__global__ void __launch_bounds__(kRowThreads, kRowBlocks)
    row_parts_kernel(int64_t rows, int64_t entries, int64_t pieces, const S* x, const S* origin,
                     typename Part::Type* parts) {
  __shared__ typename Part::Type part[kRowThreads];
  const CudaTeam<kRowThreads> team;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y)
    for (int64_t piece = blockIdx.x; piece < pieces; piece += gridDim.x) {
      const int64_t begin = row * entries, first = piece * kRowPiece;
      const int64_t end = first + kRowPiece < entries ? first + kRowPiece : entries;
      team.each([&](int t) {
        typename Part::Type joined = 0;
        for (int64_t i = begin + first + t; i < begin + end; i += kRowThreads)
          joined = Part::join(joined, Part::of(wide(x[i]) - (origin ? wide(origin[i]) : 0.0)));
        part[t] = joined;
      });
      join_to_first<Part>(team, part);
      team.each([&](int t) {
        if (t == 0) parts[row * pieces + piece] = part[0];
      });
    }
}

template <typename Part>
__global__ void __launch_bounds__(kRowThreads, kRowBlocks)
    row_lengths_kernel(int64_t rows, int64_t pieces, const typename Part::Type* parts, double* lengths) {
  __shared__ typename Part::Type part[kRowThreads];
  const CudaTeam<kRowThreads> team;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    team.each([&](int t) {
      typename Part::Type joined = 0;
      for (int64_t i = t; i < pieces; i += kRowThreads) joined = Part::join(joined, parts[row * pieces + i]);
      part[t] = joined;
    });
    join_to_first<Part>(team, part);
    team.each([&](int t) {
      if (t == 0) lengths[row] = Part::length(part[0]);
    });
  }
}

template <typename S, typename Factor>
__global__ void __launch_bounds__(kRowThreads, kRowBlocks)
    scaled_rows_kernel(int64_t rows, int64_t entries, const double* lengths, Factor factor, const S* x, S* out) {
  const int64_t stride = int64_t(gridDim.x) * kRowThreads;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const double scale = factor(lengths[row], row);
    MEDADV_UNROLL_BY(1)  // else the number of rounds is divided for, in 64 bits
    for (int64_t i = int64_t(blockIdx.x) * kRowThreads + threadIdx.x; i < entries; i += stride)
      out[row * entries + i] = narrow<S>(wide(x[row * entries + i]) * scale);
  }
}

}  // namespace

template <RowNorm kNorm, typename S>
cudaError_t row_lengths(int64_t rows, int64_t entries, const S* x, const S* origin, double* lengths, void* workspace,
                        cudaStream_t stream) {
  using Part = RowPart<kNorm>;
  const int64_t pieces = row_pieces(entries);
  auto* parts = static_cast<typename Part::Type*>(workspace);
  row_parts_kernel<Part><<<dim3(axis(pieces), axis(rows)), kRowThreads, 0, stream>>>(rows, entries, pieces, x, origin,
                                                                                     parts);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  row_lengths_kernel<Part><<<axis(rows), kRowThreads, 0, stream>>>(rows, pieces, parts, lengths);
  return cudaGetLastError();
}

template <typename S, typename Factor>
cudaError_t scaled_rows(int64_t rows, int64_t entries, const double* lengths, const Factor& factor, const S* x, S* out,
                        cudaStream_t stream) {
  const int64_t blocks = (entries + kRowThreads - 1) / kRowThreads;
  scaled_rows_kernel<<<dim3(axis(blocks), axis(rows)), kRowThreads, 0, stream>>>(rows, entries, lengths, factor, x,
                                                                                 out);
  return cudaGetLastError();
}

#define MEDADV_INSTANTIATE_LENGTHS(kNorm, S)                                                                \
  template cudaError_t row_lengths<kNorm, S>(int64_t, int64_t, const S*, const S*, double*, void*, cudaStream_t);
#define MEDADV_INSTANTIATE(S)                                                                               \
  MEDADV_INSTANTIATE_LENGTHS(RowNorm::linf, S)                                                              \
  MEDADV_INSTANTIATE_LENGTHS(RowNorm::l1, S)                                                                \
  MEDADV_INSTANTIATE_LENGTHS(RowNorm::l2, S)                                                                \
  template cudaError_t scaled_rows<S, ToUnit>(int64_t, int64_t, const double*, const ToUnit&, const S*, S*, \
                                              cudaStream_t);
MEDADV_INSTANTIATE(float)
MEDADV_INSTANTIATE(double)
MEDADV_INSTANTIATE(__half)
MEDADV_INSTANTIATE(__nv_bfloat16)
template cudaError_t scaled_rows<float, IntoBall>(int64_t, int64_t, const double*, const IntoBall&, const float*,
                                                  float*, cudaStream_t);
template cudaError_t scaled_rows<double, IntoBall>(int64_t, int64_t, const double*, const IntoBall&, const double*,
                                                   double*, cudaStream_t);
template cudaError_t scaled_rows<float, IntoBalls>(int64_t, int64_t, const double*, const IntoBalls&, const float*,
                                                   float*, cudaStream_t);
template cudaError_t scaled_rows<double, IntoBalls>(int64_t, int64_t, const double*, const IntoBalls&, const double*,
                                                    double*, cudaStream_t);

}  // namespace medadv::cuda
