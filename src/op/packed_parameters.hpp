// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <typeindex>
#include <utility>
#include <vector>

namespace phalanx {

/// What kernels made of a network's parameters for themselves, such as weights in the order that a primitive wants. There is a
/// plan for every size of a batch, and all plans share it. Each thing lives as long as a state of a kernel holds it. Not
/// thread-safe.
class PackedParameters {
 public:
  /// The T for which `is(t)` holds; else what `make()` makes, a shared_ptr<T>.
  template <class T, class Is, class Make>
  std::shared_ptr<T> find(Is is, Make make) {
    std::erase_if(known_, [](const auto& k) { return k.second.expired(); });
    for (const auto& [type, weak] : known_) {
      if (type != typeid(T)) continue;
      if (auto t = std::static_pointer_cast<T>(weak.lock()); is(*t)) return t;
    }
    std::shared_ptr<T> made = make();
    known_.emplace_back(typeid(T), made);
    return made;
  }

 private:
  std::vector<std::pair<std::type_index, std::weak_ptr<void>>> known_;
};

}  // namespace phalanx
