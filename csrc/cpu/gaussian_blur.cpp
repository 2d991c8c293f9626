#include "cpu/gaussian_blur.h"

#include <algorithm>

#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

constexpr int32_t kSegment = 512;  // voxels of a line at a time, so that its sums stay in the nearest cache
constexpr int kTaps = 8;           // of a row at a time, so that its weights stay in registers

template <typename T>
BlurBand<T> blur_band(int32_t n, double sigma, BlurPadding padding, double truncate, bool adjoint) {
  BlurBand<T> band;
  band.n = n;
  if (sigma == 0) return band;
  const GaussianKernel<double> kernel = gaussian_kernel<double>(sigma, truncate);
  // No padding moves two positions apart, so no voxel is farther than the radius, nor than the image is long.
  band.reach = std::max(1, std::min(kernel.radius, n - 1));
  const int32_t taps = 2 * band.reach + 1;
  std::vector<double> w(size_t(n + kBlurLines - 1) * taps);
  for (int32_t i = 0; i < n; ++i)
    for (int32_t k = -kernel.radius; k <= kernel.radius; ++k) {
      const int32_t j = voxel_at(padding, n, i + k);
      if (j < 0) continue;
      const int32_t line = adjoint ? j : i, from = adjoint ? i : j;
      w[size_t(line) * taps + from - line + band.reach] += kernel(k);
    }
  band.w.assign(w.begin(), w.end());
  return band;
}

template <typename T>
BlurRow<T> blur_row(int32_t n, double sigma, BlurPadding padding, double truncate) {
  BlurRow<T> row;
  row.n = n;
  if (sigma == 0) return row;
  const GaussianKernel<double> kernel = gaussian_kernel<double>(sigma, truncate);
  row.radius = kernel.radius;
  for (int32_t k = -kernel.radius; k <= kernel.radius; ++k) row.w.push_back(T(kernel(k)));
  for (int32_t k = 0; k < kernel.radius; ++k) {
    row.left.push_back(voxel_at(padding, n, k - kernel.radius));
    row.right.push_back(voxel_at(padding, n, n + k));
  }
  return row;
}

// Four lines of output from one side of their windows to the other: the first lines read serve only some of the
// four, and so do the last.
enum class Part { head, middle, tail };
constexpr bool serves(Part part, int line, int p) {
  return part == Part::head ? p <= line : part == Part::middle || p > line;
}

// out[p][i] += weight of line j in p, times line j, for kCount lines. w: the first of the four rows of the matrix;
// j: of the first line, counted from the first line of the first window.
template <Part kPart, int kCount, typename T, typename In>
inline void add_lines(const T* w, int32_t taps, int32_t j, const In* const* lines, int32_t n, T* out, int64_t stride) {
  T weight[kCount][kBlurLines];
  const In* from[kCount];
  for (int l = 0; l < kCount; ++l) {
    from[l] = lines[j + l];
    for (int p = 0; p < kBlurLines; ++p) weight[l][p] = serves(kPart, l, p) ? w[int64_t(p) * taps + j + l - p] : T(0);
  }
  T *y0 = out, *y1 = y0 + stride, *y2 = y1 + stride, *y3 = y2 + stride;
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    T sum[kBlurLines] = {};
    if (kPart != Part::head) {
      sum[0] = y0[i];
      sum[1] = y1[i];
      sum[2] = y2[i];
      sum[3] = y3[i];
    }
    MEDADV_UNROLL
    for (int l = 0; l < kCount; ++l) {
      const T v = T(from[l][i]);
      MEDADV_UNROLL
      for (int p = 0; p < kBlurLines; ++p)
        if (serves(kPart, l, p)) sum[p] += weight[l][p] * v;
    }
    y0[i] = sum[0];
    y1[i] = sum[1];
    y2[i] = sum[2];
    y3[i] = sum[3];
  }
}

// Four neighbouring lines of output, from the 2 reach + 4 lines that they depend on.
template <typename T, typename In>
MEDADV_SIMD void blur_lines(const T* w, int32_t reach, const In** lines, int64_t length, T* out, int64_t stride) {
  const int32_t taps = 2 * reach + 1, count = taps + kBlurLines - 1;
  for (int64_t at = 0; at < length; at += kSegment) {
    const int32_t n = int32_t(std::min<int64_t>(kSegment, length - at));
    add_lines<Part::head, 3>(w, taps, 0, lines, n, out, stride);
    int32_t j = 3;
    for (; j + 4 <= taps; j += 4) add_lines<Part::middle, 4>(w, taps, j, lines, n, out, stride);
    if (j < taps) add_lines<Part::middle, 2>(w, taps, j, lines, n, out, stride);
    add_lines<Part::tail, 3>(w, taps, taps, lines, n, out, stride);
    for (int32_t l = 0; l < count; ++l) lines[l] += n;
    out += n;
  }
}

// out[i] = (0 or out[i]) + sum over k < kCount of w[k] e[i + k].
template <int kCount, typename T>
inline void add_taps(const T* w, const T* e, bool first, int32_t n, T* __restrict out) {
  T weight[kCount];
  for (int k = 0; k < kCount; ++k) weight[k] = w[k];
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) {
    T sum = first ? T(0) : out[i];
    MEDADV_UNROLL
    for (int k = 0; k < kCount; ++k) sum += weight[k] * e[i + k];
    out[i] = sum;
  }
}

// out[i] = sum over k of w[k] e[i + k]; an odd number of taps.
template <typename T>
inline void correlate(const std::vector<T>& w, const T* e, int32_t n, T* out) {
  const int32_t taps = int32_t(w.size());
  int32_t k = 0;
  for (; k + kTaps <= taps; k += kTaps) add_taps<kTaps>(&w[k], e + k, k == 0, n, out);
  switch (taps - k) {
    case 1: return add_taps<1>(&w[k], e + k, k == 0, n, out);
    case 3: return add_taps<3>(&w[k], e + k, k == 0, n, out);
    case 5: return add_taps<5>(&w[k], e + k, k == 0, n, out);
    default: return add_taps<7>(&w[k], e + k, k == 0, n, out);
  }
}

// A row that stands at e + radius, extended by its padding.
template <typename T, typename S>
MEDADV_SIMD void blur_width(const BlurRow<T>& x, T* e, T* sum, S* __restrict out) {
  for (int32_t k = 0; k < x.radius; ++k) {
    e[k] = x.left[k] < 0 ? T(0) : e[x.radius + x.left[k]];
    e[x.radius + x.n + k] = x.right[k] < 0 ? T(0) : e[x.radius + x.right[k]];
  }
  correlate(x.w, e, x.n, sum);
  for (int32_t i = 0; i < x.n; ++i) out[i] = S(sum[i]);
}

// A row that stands at e + 2 radius, with zeros around it. What falls outside the image is added to the voxel that
// the padding would have taken there.
template <typename T, typename S>
MEDADV_SIMD void gather_width(const BlurRow<T>& x, const T* e, T* sum, S* __restrict out) {
  correlate(x.w, e, x.n + 2 * x.radius, sum);
  T* inside = sum + x.radius;
  for (int32_t k = 0; k < x.radius; ++k) {
    if (x.left[k] >= 0) inside[x.left[k]] += sum[k];
    if (x.right[k] >= 0) inside[x.right[k]] += inside[x.n + k];
  }
  for (int32_t i = 0; i < x.n; ++i) out[i] = S(inside[i]);
}

}  // namespace

template <typename T, typename S>
struct GaussianBlur<T, S>::Scratch {
  std::vector<T> depth;      // [kBlurLines, rows of the band and around it, W]
  std::vector<T> rows;       // [kBlurLines, W + 4 radius]
  std::vector<T> sum;        // [W + 2 radius]
  std::vector<T> zeros;      // [W]
  std::vector<const S*> planes;
  std::vector<const S*> lines;
  std::vector<const T*> depth_lines;
};

template <typename T, typename S>
GaussianBlur<T, S>::GaussianBlur(const Volume& size, int64_t channels, const double sigma[3], BlurPadding padding,
                                 double truncate, bool adjoint, const S* in, S* out)
    : size_(size), channels_(channels), adjoint_(adjoint),
      z_(blur_band<T>(size.z, sigma[0], padding, truncate, adjoint)),
      y_(blur_band<T>(size.y, sigma[1], padding, truncate, adjoint)),
      x_(blur_row<T>(size.x, sigma[2], padding, truncate)), in_(in), out_(out) {
  const int32_t planes = z_.reach ? kBlurLines : 1;
  const int64_t rows = kBlurScratch / planes / std::max(1, size.x) - 2 * y_.reach;
  band_rows_ = int32_t(std::min<int64_t>(size.y, std::max<int64_t>({rows, 2 * y_.reach, kBlurLines})));
  if (!z_.reach) band_rows_ = std::min(band_rows_, std::max(kBlurLines, int32_t((1 << 14) / size.x)));
  groups_ = (size.z + planes - 1) / planes;
  bands_ = (size.y + band_rows_ - 1) / band_rows_;
  zeros_.resize(size_t(z_.reach ? band_rows_ + 2 * y_.reach : 1) * size.x);
}

// Rows [begin, end) of a plane whose first stored row is first_row. Where rows above or below are missing, they are
// outside the image.
template <typename T, typename S>
template <typename In>
void GaussianBlur<T, S>::blur_rows(const In* plane, int32_t first_row, int32_t begin, int32_t end, S* out,
                                   Scratch& scratch) const {
  const int32_t width = size_.x, before = (adjoint_ ? 2 : 1) * x_.radius;
  const int64_t stride = int64_t(width) + 4 * x_.radius;
  const auto line = [&](int32_t row) { return plane + int64_t(row - first_row) * width; };
  for (int32_t row = begin; row < end; row += kBlurLines) {
    const int32_t count = std::min(kBlurLines, end - row);
    T* rows = scratch.rows.data() + before;
    if (y_.reach) {
      const auto blur = [&](auto& lines, const auto* zeros) {
        lines.clear();
        for (int32_t j = row - y_.reach; j < row + y_.reach + kBlurLines; ++j)
          lines.push_back(j < 0 || j >= size_.y || (j >= end + y_.reach) ? zeros : line(j));
        blur_lines(y_.row(row), y_.reach, lines.data(), width, rows, stride);
      };
      if constexpr (std::is_same_v<In, S>)
        blur(scratch.lines, zeros_.data());
      else
        blur(scratch.depth_lines, scratch.zeros.data());
    } else {
      for (int32_t p = 0; p < count; ++p)
        for (int32_t i = 0; i < width; ++i) rows[p * stride + i] = T(line(row + p)[i]);
    }
    for (int32_t p = 0; p < count; ++p) {
      T* from = rows + p * stride;
      S* to = out + int64_t(row + p) * width;
      if (!x_.radius)
        for (int32_t i = 0; i < width; ++i) to[i] = S(from[i]);
      else if (adjoint_)
        gather_width(x_, from - before, scratch.sum.data(), to);
      else
        blur_width(x_, from - before, scratch.sum.data(), to);
    }
  }
}

template <typename T, typename S>
void GaussianBlur<T, S>::run_block(int64_t block, Scratch& scratch) const {
  const int64_t channel = block / (groups_ * bands_), plane = size_.plane();
  const int32_t group = int32_t(block / bands_ % groups_), begin = int32_t(block % bands_) * band_rows_;
  const int32_t end = std::min(begin + band_rows_, size_.y);
  const S* in = in_ + channel * size_.voxels();
  S* out = out_ + channel * size_.voxels();
  if (!z_.reach) return blur_rows(in + group * plane, 0, begin, end, out + group * plane, scratch);

  const int32_t z = group * kBlurLines, first = std::max(0, begin - y_.reach), last = std::min(size_.y, end + y_.reach);
  const int64_t length = int64_t(last - first) * size_.x;
  scratch.depth.resize(size_t(kBlurLines * length));
  scratch.planes.clear();
  for (int32_t j = z - z_.reach; j < z + z_.reach + kBlurLines; ++j)
    scratch.planes.push_back(j < 0 || j >= size_.z ? zeros_.data() : in + j * plane + int64_t(first) * size_.x);
  blur_lines(z_.row(z), z_.reach, scratch.planes.data(), length, scratch.depth.data(), length);
  for (int32_t p = 0; p < std::min(kBlurLines, size_.z - z); ++p)
    blur_rows<T>(&scratch.depth[size_t(p * length)], first, begin, end, out + (z + p) * plane, scratch);
}

template <typename T, typename S>
void GaussianBlur<T, S>::run(int64_t first, int64_t last) const {
  Scratch scratch;
  scratch.rows.resize(size_t(kBlurLines) * (size_t(size_.x) + 4 * x_.radius));
  scratch.sum.resize(size_t(size_.x) + 2 * x_.radius);
  scratch.zeros.resize(size_.x);
  for (int64_t block = first; block < last; ++block) run_block(block, scratch);
}

template class GaussianBlur<float, float>;
template class GaussianBlur<double, double>;
template class GaussianBlur<float, Half>;
template class GaussianBlur<float, BFloat16>;

}  // namespace medadv::cpu
