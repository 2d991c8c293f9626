// The chain of warp, bias field, noise and clip on the CPU, and its gradients. The caller hands out ranges of blocks.
// Everything between the image and the result exists a row at a time, forces on the lattices a block at a time.
#pragma once

#include "core/transform_chain.h"
#include "cpu/spline_adjoint.h"

namespace medadv::cpu {

template <typename T, typename S>
class TransformChain {
 public:
  TransformChain(const Chain<T, S>& chain, S* out)
      : chain_(chain), motion_(chain.motion), gain_(chain.gain), out_(out) {}

  int64_t blocks() const { return motion_.blocks(chain_.s.images); }
  void run(int64_t first, int64_t last) const;

 private:
  Chain<T, S> chain_;
  SplineRows<T> motion_, gain_;  // with the same bands
  S* out_;
};

// All gradients that are wanted, in one pass.
template <typename T, typename S>
class TransformChainBackward {
 public:
  TransformChainBackward(const Chain<T, S>& chain, const S* grad, const ChainGradients<S>& gradients)
      : chain_(chain), motion_(chain.motion), gain_(chain.gain),
        to_motion_(motion_, {gradients.displacement ? chain.s.images * chain.s.axes : 0, 1}),
        to_gain_(gain_, {gradients.log_gain ? chain.s.images * chain.gains : 0, 1}), grad_(grad),
        gradients_(gradients) {}

  // The owner of a block also sums the gradient to a displaced image in its rows.
  int64_t blocks() const { return motion_.blocks(chain_.s.images); }
  void run(int64_t first, int64_t last);

  // Planes of control points, of the displacement and then of the gain.
  int64_t planes() const { return to_motion_.planes() + to_gain_.planes(); }
  void gather(int64_t first, int64_t last) const;

 private:
  bool scatters() const { return gradients_.image && chain_.displacement; }

  Chain<T, S> chain_;
  SplineRows<T> motion_, gain_;  // with the same bands
  SplineAdjoint<T> to_motion_, to_gain_;
  const S* grad_;
  ChainGradients<S> gradients_;
};

}  // namespace medadv::cpu
