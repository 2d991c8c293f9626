// The smoothness energies of a lattice and their gradients on the CPU, separable: banded products along the width
// first, then along the height, then along the depth. The caller hands out ranges of channels.
#pragma once

#include <array>
#include <vector>

#include "core/lattice_energy.h"

namespace medadv::cpu {

template <typename S>
class LatticeEnergyKernel {
 public:
  LatticeEnergyKernel(LatticeEnergy kind, const Lattice& g, const double length[3], const S* c, double* energy,
                      S* gradient);

  // Writes energy[channel] and the gradient of the channels [first, last).
  void run(int64_t first, int64_t last) const;

 private:
  // Gram matrices of one axis, by derivative: entry (k, k + o - 3) is at [d][o][k].
  using Grams = std::array<std::vector<double>, 3>;

  LatticeEnergy kind_;
  Lattice g_;
  Grams z_, y_, x_;
  const S* c_;
  double* energy_;
  S* gradient_;
};

}  // namespace medadv::cpu
