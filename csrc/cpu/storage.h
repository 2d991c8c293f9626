// The half types of torch: stored as such, computed in float32.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

namespace medadv::cpu {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;

}  // namespace medadv::cpu
