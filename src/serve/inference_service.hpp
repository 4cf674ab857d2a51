// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "serve/dispatcher.hpp"
#include "serve/http.hpp"
#include "serve/registry.hpp"

namespace phalanx {

/// What protocols share: from rows in the arena to answers in the arena.
class InferenceService {
 public:
  InferenceService(net::io_context& io, SharedArena& arena, Registry& registry,
                   Dispatcher& dispatcher);

  SharedArena& arena() noexcept { return arena_; }
  Registry& registry() noexcept { return registry_; }

  struct Job {
    ServedVersionPtr version;
    SharedBlock input;  ///< f32 or u8 [rows, ...sample]
    std::int64_t rows = 0;
    bool is_u8 = false;
    int priority = 0;
    std::chrono::microseconds timeout{0};  ///< 0: the model's
  };
  /// Room for the rows of a request.
  /// Throws    Refusal 400 for more rows than a batch of the model holds; OutOfMemory.
  SharedBlock allocate_rows(const ServedVersion& version, std::int64_t rows, bool is_u8);

  /// Waits for the answers, f32 [rows, outputs] in `output` of the result. A client that goes away in the meantime takes its
  /// request with it. Counts, and copies the request to the shadow version if there is one.
  /// Throws    Refusal
  Awaitable<InferencePtr> infer(HttpExchange& exchange, Job job);

 private:
  InferencePtr make_inference(const Job& job);
  Awaitable<void> wait_for(const std::shared_ptr<ModelQueue>& queue, const InferencePtr& inference);
  void count(ServedVersion& version, const Inference& inference);
  struct Shadow;
  std::shared_ptr<Shadow> make_shadow(const Job& job, const InferencePtr& primary);

  net::io_context& io_;
  SharedArena& arena_;
  Registry& registry_;
  Dispatcher& dispatcher_;
};

}  // namespace phalanx
