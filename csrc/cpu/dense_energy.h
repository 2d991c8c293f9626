// The smoothness energies of a dense field on the CPU, and their gradients. The caller hands out ranges of blocks.
//
// A block is a band of rows in one plane. Rows are read where they lie; a neighbour outside the image is replaced by
// the row itself, which makes its differences zero.
#pragma once

#include "core/dense_energy.h"
#include "cpu/bands.h"

namespace medadv::cpu {

template <typename T, typename S>
class DenseEnergySum {
 public:
  DenseEnergySum(DenseEnergy kind, const Volume& size, int64_t channels, const double voxel_size[3], const S* u)
      : kind_(kind), bands_(size), channels_(channels), w_(dense_weights<T>(kind, voxel_size)), u_(u),
        sums_(bands_, size.x, channels) {}

  int64_t blocks() const { return sums_.blocks(); }
  void run(int64_t first, int64_t last);
  // Writes the energy of every channel.
  void gather(double* energy) const;

 private:
  DenseEnergy kind_;
  Bands bands_;
  int64_t channels_;
  DenseWeights<T> w_;
  const S* u_;
  BlockSums<T> sums_;
};

// scale: what the gradient of every channel is multiplied by.
template <typename T, typename S>
class DenseEnergyGradient {
 public:
  DenseEnergyGradient(DenseEnergy kind, const Volume& size, int64_t channels, const double voxel_size[3],
                      const double* scale, const S* u, S* gradient)
      : kind_(kind), bands_(size), channels_(channels), w_(dense_weights<T>(kind, voxel_size)), scale_(scale), u_(u),
        gradient_(gradient) {}

  int64_t blocks() const { return bands_.blocks(channels_); }
  void run(int64_t first, int64_t last) const;

 private:
  DenseEnergy kind_;
  Bands bands_;
  int64_t channels_;
  DenseWeights<T> w_;
  const double* scale_;
  const S* u_;
  S* gradient_;
};

}  // namespace medadv::cpu
