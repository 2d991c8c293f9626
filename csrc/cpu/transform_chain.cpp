#include "cpu/transform_chain.h"

#include "cpu/bands.h"
#include "cpu/block_gain.h"
#include "cpu/spline_motion.h"
#include "cpu/storage.h"

namespace medadv::cpu {
namespace {

// Calls f.operator()<kGain, kNoise>(): whether there is a gain, and noise.
template <typename F>
inline void choose(const void* gain, const void* noise, const F& f) {
  if (gain) noise ? f.template operator()<true, true>() : f.template operator()<true, false>();
  else noise ? f.template operator()<false, true>() : f.template operator()<false, false>();
}

// c: one channel of the lattice.
template <typename T, typename S>
MEDADV_SIMD void spread_gain(const SplineRows<T>& s, const Block& block, const S* c, BlockGain<T>& gain) {
  gain.spread(s, block, c);
}

template <typename T>
MEDADV_SIMD void evaluate_gain(const SplineRows<T>& s, const BlockGain<T>& gain, const FieldRow<T>& field,
                               T* __restrict out) {
  for_each_gain(s, gain, field, [=](int32_t i, T factor) { out[i] = factor; });
}

// One row of one channel from its samples x.
template <typename T, typename S>
MEDADV_SIMD void settle_row(const Chain<T, S>& chain, const S* x, const T* gain, const S* noise, S* out) {
  const Chain<T, S> c = chain;
  choose(gain, noise, [=]<bool kGain, bool kNoise>() {
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i < c.s.x; ++i) {
      T u = kGain ? c.origin + (T(x[i]) - c.origin) * gain[i] : T(x[i]);
      if (kNoise) u += T(noise[i]);
      const T raised = u < c.low ? c.low : u;
      out[i] = S(raised > c.high ? c.high : raised);
    }
  });
}

// passed = the gradient before the clip.
template <typename T, typename S>
MEDADV_SIMD void unclip_row(const Chain<T, S>& chain, const S* grad, const S* x, const T* gain, const S* noise,
                            T* passed) {
  const Chain<T, S> c = chain;
  if (!c.clips) {
    for (int32_t i = 0; i < c.s.x; ++i) passed[i] = T(grad[i]);
    return;
  }
  choose(gain, noise, [=]<bool kGain, bool kNoise>() {
    MEDADV_INDEPENDENT
    for (int32_t i = 0; i < c.s.x; ++i) {
      T u = kGain ? c.origin + (T(x[i]) - c.origin) * gain[i] : T(x[i]);
      if (kNoise) u += T(noise[i]);
      passed[i] = (u >= c.low) & (u <= c.high) ? T(grad[i]) : T(0);
    }
  });
}

// through = the gradient to the samples x.
template <typename T, typename S>
MEDADV_SIMD void ungain_row(int32_t n, const T* passed, const T* gain, S* through) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) through[i] = S(gain ? passed[i] * gain[i] : passed[i]);
}

// force += the gradient to the log of the gain.
template <typename T, typename S>
MEDADV_SIMD void add_gain_force(int32_t n, T origin, const T* passed, const T* gain, const S* x, T* force) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) force[i] += passed[i] * gain[i] * (T(x[i]) - origin);
}

template <typename T>
MEDADV_SIMD void add_row(int32_t n, const T* row, T* sum) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) sum[i] += row[i];
}

template <typename T, typename S>
MEDADV_SIMD void store_row(int32_t n, const T* row, S* out) {
  MEDADV_INDEPENDENT
  for (int32_t i = 0; i < n; ++i) out[i] = S(row[i]);
}

// What a thread knows of the block and the row where it is.
template <typename T, typename S>
class ChainRow {
 public:
  WarpRow<T> warp;
  Block block;  // of an image, not of a channel
  int32_t y = 0;

  ChainRow(const Chain<T, S>& chain, const SplineRows<T>& motion, const SplineRows<T>& gain)
      : warp(chain.s), chain_(chain), motion_rows_(motion), gain_(gain), motion_(motion, chain.s.axes),
        gains_(size_t(chain.gains), BlockGain<T>(gain)), factor_(size_t(gain.stride)), sampled_(size_t(gain.stride)) {}

  void enter(int64_t index) {
    block = gain_.block(index);
    motion_block_ = motion_rows_.block(index);
    if (chain_.displacement) motion_.spread(motion_block_, chain_.displacement_of(block.channel));
    for (int64_t k = 0; k < chain_.gains; ++k)
      spread_gain(gain_, block, chain_.log_gain + chain_.gain_of(block.channel, k) * gain_.g.knots(),
                  gains_[size_t(k)]);
  }

  // slopes: whether gradients to the displacement are wanted.
  void move_to(int32_t row, bool slopes) {
    y = row;
    if (chain_.gains == 1) evaluate(gains_[0]);
    if (!chain_.displacement) return;
    motion_.displace(motion_block_, y, warp);
    warp.locate(block.z, y, slopes);
  }

  SplineMotion<T>& motion() { return motion_; }

  // The rest is of channel k of the image; call gain once for each, in order.

  int64_t offset(int64_t channel) const { return gain_.row_offset({channel, block.z, block.band}, y); }
  int64_t channel(int64_t k) const { return block.channel * chain_.s.channels + k; }
  const S* image(int64_t k) const { return chain_.image + channel(k) * chain_.s.voxels(); }

  const S* sample(int64_t k) {
    if (!chain_.displacement) return chain_.image + offset(channel(k));
    warp.sample(image(k), sampled_.data());
    return sampled_.data();
  }

  const T* gain(int64_t k) {
    if (!chain_.log_gain) return nullptr;
    if (chain_.gains > 1) evaluate(gains_[size_t(k)]);
    return factor_.data();
  }

  const S* noise(int64_t k) const {
    if (!chain_.noise) return nullptr;
    const S* at = chain_.noise + offset(chain_.noise_of(block.channel, k));
    fetch_ahead(at, chain_.s.x);
    return at;
  }

 private:
  void evaluate(const BlockGain<T>& gain) {
    const FieldRow<T> field(gain_, gain.control, block, {gain_.y[y].cell, y, y + 1}, y, gain.middle);
    evaluate_gain(gain_, gain, field, factor_.data());
  }

  const Chain<T, S>& chain_;
  const SplineRows<T>&motion_rows_, &gain_;
  SplineMotion<T> motion_;
  Block motion_block_;  // the same rows, and the control points of the displacement that reach them
  std::vector<BlockGain<T>> gains_;  // of every channel of log_gain
  Scratch<T> factor_;
  Scratch<S> sampled_;
};

// The gradients of one row after another.
template <typename T, typename S>
class ChainRowGradients {
 public:
  ChainRowGradients(const Chain<T, S>& chain, const S* grad, const ChainGradients<S>& to, int32_t stride)
      : chain_(chain), grad_(grad), to_(to), passed_(size_t(stride)), noise_(size_t(stride)),
        through_(size_t(stride)) {}

  // Where the gradient to a displaced image is summed; null where not wanted.
  struct Sum {
    T* image;
    const Slab& slab;
  };

  // motion and gain: rows of the forces on the lattices, one component after the other, or null where not wanted.
  void add(ChainRow<T, S>& row, const Sum& sum, T* const* motion, T* gain_force, int64_t component) {
    const int32_t n = chain_.s.x;
    const bool sampled = chain_.clips || gain_force;
    for (int64_t k = 0; k < chain_.s.channels; ++k) {
      const int64_t at = row.offset(row.channel(k));
      const S* x = sampled ? row.sample(k) : nullptr;
      const T* gain = unclip(row, k, x);
      if (to_.noise) add_noise(row, k);
      if (gain_force)
        add_gain_force(n, chain_.origin, passed_.data(), gain, x, gain_force + chain_.gain_of(0, k) * component);
      if (!motion && !to_.image) continue;
      S* through = to_.image && !sum.image ? to_.image + at : through_.data();
      ungain_row(n, passed_.data(), gain, through);
      if (motion) row.warp.add_slopes(row.image(k), through, motion, sampled);
      if (sum.image) row.warp.scatter(through, sum.image + k * chain_.s.voxels(), sum.slab);
    }
  }

  // The gradient to the image alone.
  void add_to_image(ChainRow<T, S>& row, const Sum& sum) {
    for (int64_t k = 0; k < chain_.s.channels; ++k) {
      const T* gain = unclip(row, k, chain_.clips ? row.sample(k) : nullptr);
      ungain_row(chain_.s.x, passed_.data(), gain, through_.data());
      row.warp.scatter(through_.data(), sum.image + k * chain_.s.voxels(), sum.slab);
    }
  }

 private:
  // Fills passed_; returns the gain.
  const T* unclip(ChainRow<T, S>& row, int64_t k, const S* x) {
    const T* gain = row.gain(k);
    const S* grad = grad_ + row.offset(row.channel(k));
    fetch_ahead(grad, chain_.s.x);
    unclip_row(chain_, grad, x, gain, row.noise(k), passed_.data());
    return gain;
  }

  void add_noise(const ChainRow<T, S>& row, int64_t k) {
    const int32_t n = chain_.s.x;
    const bool shared = chain_.noises < chain_.s.channels;
    if (shared) add_row(n, passed_.data(), noise_.data());
    if (shared && k + 1 < chain_.s.channels) return;
    store_row(n, (shared ? noise_ : passed_).data(), to_.noise + row.offset(chain_.noise_of(row.block.channel, k)));
    if (shared) std::fill(noise_.begin(), noise_.end(), T(0));
  }

  const Chain<T, S>& chain_;
  const S* grad_;
  const ChainGradients<S>& to_;
  Scratch<T> passed_, noise_;  // gradients before the clip, and their sum over the channels
  Scratch<S> through_;
};

}  // namespace

template <typename T, typename S>
void TransformChain<T, S>::run(int64_t first, int64_t last) const {
  ChainRow<T, S> row(chain_, motion_, gain_);
  for (int64_t b = first; b < last; ++b) {
    row.enter(b);
    for (int32_t y = gain_.first_row(row.block); y < gain_.end_row(row.block); ++y) {
      row.move_to(y, false);
      for (int64_t k = 0; k < chain_.s.channels; ++k) {
        const S* x = row.sample(k);
        settle_row(chain_, x, row.gain(k), row.noise(k), out_ + row.offset(row.channel(k)));
      }
    }
  }
}

template <typename T, typename S>
void TransformChainBackward<T, S>::run(int64_t first, int64_t last) {
  const Sampling& s = chain_.s;
  ChainRow<T, S> row(chain_, motion_, gain_);
  ChainRowGradients<T, S> gradients(chain_, grad_, gradients_, gain_.stride);
  SlabSum<T, S> sums(s, gradients_.image);
  Scratch<T> forces, scratch;
  const int64_t per_image = motion_.blocks(1);
  const int64_t axes = gradients_.displacement ? s.axes : 0, gains = gradients_.log_gain ? chain_.gains : 0;

  const auto run_block = [&](int64_t index, T* sum, const Slab& slab) {
    row.enter(index);
    const int32_t begin = gain_.first_row(row.block), end = gain_.end_row(row.block);
    const int64_t component = int64_t(end - begin) * gain_.stride;
    forces.assign(size_t((axes + gains) * component), T(0));
    for (int32_t y = begin; y < end; ++y) {
      row.move_to(y, axes > 0);
      T* force = forces.data() + int64_t(y - begin) * gain_.stride;
      T* const motion[3] = {force, force + component, force + std::max<int64_t>(0, axes - 1) * component};
      gradients.add(row, {sum, slab}, axes ? motion : nullptr, gains ? force + axes * component : nullptr, component);
    }
    const int64_t image = row.block.channel, part = index % per_image;
    for (int64_t k = 0; k < axes; ++k)
      add_forces(motion_, (image * axes + k) * per_image + part, forces.data() + k * component, scratch, to_motion_);
    for (int64_t k = 0; k < gains; ++k)
      add_forces(gain_, (image * gains + k) * per_image + part, forces.data() + (axes + k) * component, scratch,
                 to_gain_);
  };
  // Of a block that another owner runs: what lands in this one's slab.
  const auto add_from = [&](int64_t index, T* sum, const Slab& slab) {
    if (!enters(row.motion(), motion_, s, slab, index, chain_.displacement_of(index / per_image))) return;
    row.enter(index);
    for (int32_t y = gain_.first_row(row.block); y < gain_.end_row(row.block); ++y) {
      row.move_to(y, false);
      gradients.add_to_image(row, {sum, slab});
    }
  };

  for_each_image(first, last, per_image, [&](int64_t begin, int64_t end) {
    const int64_t image = begin / per_image;
    const Slab slab = slab_of_blocks(motion_, begin, end);
    T* sum = scatters() ? sums.begin(image, slab) : nullptr;
    for (int64_t b = sum ? image * per_image : begin; b < (sum ? (image + 1) * per_image : end); ++b)
      begin <= b && b < end ? run_block(b, sum, slab) : add_from(b, sum, slab);
    if (sum) sums.end(image, slab);
  });
}

template <typename T, typename S>
void TransformChainBackward<T, S>::gather(int64_t first, int64_t last) const {
  const int64_t split = to_motion_.planes();
  to_motion_.gather(std::min(first, split), std::min(last, split), gradients_.displacement);
  to_gain_.gather(std::max(first, split) - split, std::max(last, split) - split, gradients_.log_gain);
}

#define MEDADV_INSTANTIATE(T, S)       \
  template class TransformChain<T, S>; \
  template class TransformChainBackward<T, S>;
MEDADV_INSTANTIATE(float, float)
MEDADV_INSTANTIATE(double, double)
MEDADV_INSTANTIATE(float, Half)
MEDADV_INSTANTIATE(float, BFloat16)

}  // namespace medadv::cpu
