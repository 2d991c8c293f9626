// The bending energy of a lattice and its gradient on the CPU, separable: three banded products along the
// width, six along the height, three along the depth. The caller hands out ranges of channels.
#pragma once

#include <array>
#include <vector>

#include "core/bending_energy.h"

namespace medadv::cpu {

template <typename S>
class BendingEnergy {
 public:
  BendingEnergy(const Lattice& g, const double length[3], const S* c, double* energy, S* gradient);

  // Writes energy[channel] and the gradient of the channels [first, last).
  void run(int64_t first, int64_t last) const;

 private:
  // Gram matrices of one axis, by derivative: entry (k, k + o - 3) is at [d][o][k].
  using Grams = std::array<std::vector<double>, 3>;

  Lattice g_;
  Grams z_, y_, x_;
  const S* c_;
  double* energy_;
  S* gradient_;
};

}  // namespace medadv::cpu
