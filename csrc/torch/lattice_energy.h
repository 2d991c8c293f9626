// The smoothness energies of a lattice over tensors, written once for every backend.
#pragma once

#include <cmath>
#include <tuple>

#include "core/lattice_energy.h"
#include "torch/common.h"

namespace medadv {

// spacing: length of a cell along every axis. Returns the energy [N], and its gradient to the lattice.
template <typename Backend>
std::tuple<Tensor, Tensor> lattice_energy(const char* op, LatticeEnergy kind, const Tensor& lattice,
                                          std::vector<double> spacing) {
  constexpr const char* name = "field";  // as callers know the lattice
  check(lattice.dim() == 4 || lattice.dim() == 5, op, ": ", name, " must be [N, K, Gy, Gx] or [N, K, Gz, Gy, Gx], got ",
        text(lattice.sizes()));
  check_floating(op, name, lattice);
  check(int64_t(spacing.size()) == lattice.dim() - 2, op, ": spacing must have one length per axis, ",
        lattice.dim() - 2, ", got ", spacing.size());
  for (const double length : spacing)
    check(length > 0 && std::isfinite(length), op, ": spacing must be positive and finite, got ", text(spacing));
  const Lattice g = lattice_over(op, lattice, std::vector<int64_t>(spacing.size(), 1), name);
  check_planes(op, g, lattice.size(0) * lattice.size(1));
  spacing.insert(spacing.begin(), 3 - spacing.size(), 1.0);

  const typename Backend::Scope scope(lattice);
  const Tensor c = make_contiguous(lattice);
  Tensor gradient = new_sums(c, shape(c));
  Tensor energy = make_zeros(c, {c.size(0), c.size(1)}, ScalarType::Double);
  if (!empty(c))
    dispatch_floating(op, name, c.scalar_type(), [&]<typename S>() {
      Backend::template lattice_energy<S>(scope, kind, g, spacing.data(), c.size(0) * c.size(1), c.const_data_ptr<S>(),
                                          energy.mutable_data_ptr<double>(), gradient.mutable_data_ptr<S>());
    });
  return {energy, gradient};
}

template <typename Backend>
std::tuple<Tensor, Tensor> bending_energy(const Tensor& lattice, std::vector<double> spacing) {
  return lattice_energy<Backend>("bending_energy", LatticeEnergy::bending, lattice, std::move(spacing));
}

template <typename Backend>
std::tuple<Tensor, Tensor> membrane_energy(const Tensor& lattice, std::vector<double> spacing) {
  return lattice_energy<Backend>("membrane_energy", LatticeEnergy::membrane, lattice, std::move(spacing));
}

}  // namespace medadv
