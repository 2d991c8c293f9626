#include "cpu/warp.h"

#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

// Row `index` of all rows: its image, plane, height, and place in a channel.
struct RowPlace {
  int64_t image, at;
  int32_t z, y;

  RowPlace(const Sampling& s, int64_t index)
      : image(index / (int64_t(s.z) * s.y)), at(index % (int64_t(s.z) * s.y) * s.x),
        z(int32_t(index / s.y % s.z)), y(int32_t(index % s.y)) {}
};

template <typename T, typename D>
void displace(WarpRow<T>& row, const RowPlace& place, const D* displacement, bool slopes) {
  for (int32_t k = 0; k < row.s.axes; ++k) {
    const D* from = displacement + (place.image * row.s.axes + k) * row.s.voxels() + place.at;
    if constexpr (std::is_same_v<T, D>) {
      row.displace(k, from);
    } else {
      for (int32_t i = 0; i < row.s.x; ++i) row.own(k)[i] = T(from[i]);
      row.displace(k, row.own(k));
    }
  }
  row.locate(place.z, place.y, slopes);
}

}  // namespace

template <typename T, typename D, typename S>
void Warp<T, D, S>::run(int64_t first, int64_t last) const {
  WarpRow<T> row(s_);
  const int64_t end = std::min(last * rows_of_block(s_), s_.images * s_.z * s_.y);
  for (int64_t r = first * rows_of_block(s_); r < end; ++r) {
    const RowPlace place(s_, r);
    displace(row, place, displacement_, false);
    for (int64_t c = place.image * s_.channels; c < (place.image + 1) * s_.channels; ++c)
      row.sample(image_ + c * s_.voxels(), out_ + c * s_.voxels() + place.at);
  }
}

// Whether a row may land in a slab.
template <typename T, typename S>
bool WarpBackward<T, S>::enters(const Slab& slab, int64_t row) const {
  const RowPlace place(s_, row);
  const S* along = displacement_ + place.image * s_.axes * s_.voxels() + place.at;
  Reach reach;
  for (int32_t i = 0; i < s_.x; ++i) reach.add(double(T(along[i])));
  return reach.enters(slab, s_, place.z, place.y, place.y);
}

template <typename T, typename S>
void WarpBackward<T, S>::run(int64_t first, int64_t last) const {
  WarpRow<T> row(s_);
  SlabSum<T, S> sums(s_, grad_image_);
  std::vector<T> force(size_t(3) * row.stride);
  T* const along[3] = {&force[0], &force[size_t(row.stride)], &force[size_t(2) * row.stride]};
  const int64_t per_image = int64_t(s_.z) * s_.y, per_block = rows_of_block(s_), rows = s_.images * per_image;
  for_each_image(first * per_block, std::min(last * per_block, rows), per_image, [&](int64_t begin, int64_t end) {
    const int64_t image = begin / per_image, start = image * per_image;
    const Slab slab{(begin - start) * s_.x, (end - start) * s_.x};
    T* sum = grad_image_ ? sums.begin(image, slab) : nullptr;
    for (int64_t r = sum ? start : begin; r < (sum ? start + per_image : end); ++r) {
      const bool own = begin <= r && r < end, slopes = own && grad_displacement_;
      if (!own && !enters(slab, r)) continue;
      const RowPlace place(s_, r);
      displace(row, place, displacement_, slopes);
      std::fill(force.begin(), force.end(), T(0));
      for (int64_t c = 0; c < s_.channels; ++c) {
        const int64_t channel = (image * s_.channels + c) * s_.voxels();
        const S* grad = grad_ + channel + place.at;
        if (slopes) row.add_slopes(image_ + channel, grad, along);
        if (sum) row.scatter(grad, sum + c * s_.voxels(), slab);
      }
      for (int32_t k = 0; k < (slopes ? s_.axes : 0); ++k) {
        S* to = grad_displacement_ + (image * s_.axes + k) * s_.voxels() + place.at;
        for (int32_t i = 0; i < s_.x; ++i) to[i] = S(along[k][i]);
      }
    }
    if (sum) sums.end(image, slab);
  });
}

template class Warp<float, float, float>;
template class Warp<double, double, double>;
template class Warp<float, Half, Half>;
template class Warp<float, BFloat16, BFloat16>;
template class Warp<float, float, int8_t>;
template class Warp<float, float, int16_t>;
template class Warp<float, float, int32_t>;
template class Warp<float, float, int64_t>;
template class WarpBackward<float, float>;
template class WarpBackward<double, double>;
template class WarpBackward<float, Half>;
template class WarpBackward<float, BFloat16>;

}  // namespace medadv::cpu
