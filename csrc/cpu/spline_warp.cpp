#include "cpu/spline_warp.h"

#include "cpu/spline_motion.h"
#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

// Calls body(y) for every row of a block, where `row` is located.
template <typename T, typename D, typename Body>
void for_each_row(const SplineRows<T>& s, const Block& block, const D* c, bool slopes, SplineMotion<T>& motion,
                  WarpRow<T>& row, const Body& body) {
  motion.spread(block, c);
  for (int32_t y = s.first_row(block); y < s.end_row(block); ++y) {
    motion.displace(block, y, row);
    row.locate(block.z, y, slopes);
    body(y);
  }
}

}  // namespace

template <typename T, typename D, typename S>
void SplineWarp<T, D, S>::run(int64_t first, int64_t last) const {
  WarpRow<T> row(s_);
  SplineMotion<T> motion(rows_, s_.axes);
  for (int64_t b = first; b < last; ++b) {
    const Block block = rows_.block(b);
    const D* c = c_ + block.channel * s_.axes * rows_.g.knots();
    for_each_row(rows_, block, c, false, motion, row, [&](int32_t y) {
      for (int64_t channel = block.channel * s_.channels; channel < (block.channel + 1) * s_.channels; ++channel)
        row.sample(image_ + channel * s_.voxels(), out_ + rows_.row_offset({channel, block.z, block.band}, y));
    });
  }
}

template <typename T, typename S>
void SplineWarpBackward<T, S>::run(int64_t first, int64_t last) {
  WarpRow<T> row(s_);
  SplineMotion<T> motion(rows_, s_.axes);
  SlabSum<T, S> sums(s_, grad_image_);
  Scratch<T> forces, scratch;
  const int64_t per_image = rows_.blocks(1);

  // One block of an image; sum null where no gradient to the image is wanted.
  const auto run_block = [&](int64_t index, const S* c, T* sum, const Slab& slab, bool slopes) {
    const Block block = rows_.block(index);
    const int32_t begin = rows_.first_row(block), end = rows_.end_row(block);
    const int64_t component = int64_t(end - begin) * rows_.stride;
    if (slopes) forces.assign(size_t(s_.axes * component), T(0));
    for_each_row(rows_, block, c, slopes, motion, row, [&](int32_t y) {
      T* force = forces.data() + int64_t(y - begin) * rows_.stride;
      T* const along[3] = {force, force + component, force + (s_.axes - 1) * component};
      for (int64_t k = 0; k < s_.channels; ++k) {
        const int64_t channel = block.channel * s_.channels + k;
        const S* grad = grad_ + rows_.row_offset({channel, block.z, block.band}, y);
        if (slopes) row.add_slopes(image_ + channel * s_.voxels(), grad, along);
        if (sum) row.scatter(grad, sum + k * s_.voxels(), slab);
      }
    });
    for (int32_t k = 0; k < (slopes ? s_.axes : 0); ++k)
      add_forces(rows_, (block.channel * s_.axes + k) * per_image + index % per_image, forces.data() + k * component,
                 scratch, adjoint_);
  };

  for_each_image(first, last, per_image, [&](int64_t begin, int64_t end) {
    const int64_t image = begin / per_image;
    const S* c = c_ + image * s_.axes * rows_.g.knots();
    const Slab slab = slab_of_blocks(rows_, begin, end);
    T* sum = grad_image_ ? sums.begin(image, slab) : nullptr;
    for (int64_t b = sum ? image * per_image : begin; b < (sum ? (image + 1) * per_image : end); ++b) {
      const bool own = begin <= b && b < end;
      if (own || enters(motion, rows_, s_, slab, b, c)) run_block(b, c, sum, slab, own && grad_c_);
    }
    if (sum) sums.end(image, slab);
  });
}

template class SplineWarp<float, float, float>;
template class SplineWarp<double, double, double>;
template class SplineWarp<float, Half, Half>;
template class SplineWarp<float, BFloat16, BFloat16>;
template class SplineWarp<float, float, int8_t>;
template class SplineWarp<float, float, int16_t>;
template class SplineWarp<float, float, int32_t>;
template class SplineWarp<float, float, int64_t>;
template class SplineWarpBackward<float, float>;
template class SplineWarpBackward<double, double>;
template class SplineWarpBackward<float, Half>;
template class SplineWarpBackward<float, BFloat16>;

}  // namespace medadv::cpu
