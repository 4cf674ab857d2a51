// SPDX-License-Identifier: Apache-2.0
#include "serve/inference_service.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "core/error.hpp"

namespace phalanx {
namespace {

std::int64_t largest_output(const SharedArena::Block& block, std::size_t outputs,
                            std::int64_t row) {
  const auto* values =
      reinterpret_cast<const float*>(block.data()) + static_cast<std::size_t>(row) * outputs;
  return std::max_element(values, values + outputs) - values;
}

std::uint64_t nanoseconds_of(ServeClock::duration d) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(d).count());
}

}  // namespace

InferenceService::InferenceService(net::io_context& io, SharedArena& arena, Registry& registry,
                                   Dispatcher& dispatcher)
    : io_(io), arena_(arena), registry_(registry), dispatcher_(dispatcher) {}

SharedBlock InferenceService::allocate_rows(const ServedVersion& version, std::int64_t rows,
                                            bool is_u8) {
  if (rows < 1 || rows > version.config.max_batch_size)
    throw Refusal(400, fmt::format("the request has {} rows, but model '{}' takes 1 to {} at once",
                                   rows, version.model, version.config.max_batch_size));
  return arena_.allocate(static_cast<std::size_t>(rows) * version.sample_numel() *
                         (is_u8 ? 1 : sizeof(float)));
}

InferencePtr InferenceService::make_inference(const Job& job) {
  auto inference = std::make_shared<Inference>();
  inference->input = job.input;
  inference->rows = job.rows;
  inference->is_u8 = job.is_u8;
  inference->priority = job.priority;
  inference->output = arena_.allocate(static_cast<std::size_t>(job.rows) *
                                      job.version->output_numel() * sizeof(float));
  const auto timeout =
      job.timeout.count() > 0
          ? job.timeout
          : std::chrono::microseconds(std::chrono::milliseconds(job.version->config.timeout_ms));
  inference->arrived = ServeClock::now();
  inference->deadline = inference->arrived + timeout;
  return inference;
}

Awaitable<void> InferenceService::wait_for(const std::shared_ptr<ModelQueue>& queue,
                                           const InferencePtr& inference) {
  const auto begin = [this, queue, inference](auto handler) {
    const auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    inference->finished = [this, shared] { net::post(io_, [shared] { std::move (*shared)(); }); };
    try {
      dispatcher_.submit(queue, inference);
    } catch (const Refusal& e) {
      inference->finish(e.status(), e.what(), e.retry_after_s());
    }
  };
  co_await net::async_initiate<const net::use_awaitable_t<>, void()>(begin, net::use_awaitable);
}

/// A request that is also given to the shadow version, whose answer goes nowhere. Either may be answered first.
struct InferenceService::Shadow {
  ServedVersionPtr from, other;
  InferencePtr primary;
  SharedBlock output;  // of the shadow, once it has answered
  bool is_compared = false;

  void compare() {
    if (is_compared || !output || primary->status != 200) return;
    is_compared = true;
    ++from->stats.shadowed;
    for (std::int64_t row = 0; row < primary->rows; ++row)
      if (largest_output(*output, other->output_numel(), row) !=
          largest_output(*primary->output, other->output_numel(), row)) {
        ++from->stats.shadow_disagreed;
        return;
      }
  }
};

Awaitable<InferencePtr> InferenceService::infer(HttpExchange& exchange, Job job) {
  const ServedVersionPtr version = job.version;
  // Where a protocol takes the name of a model from a body, the gate has not seen it.
  if (!exchange.may_see(version->model))
    throw Refusal(404, fmt::format("there is no model '{}'", version->model));
  const InferencePtr inference = make_inference(job);
  exchange.model = version->model;
  exchange.version = fmt::format("{}", version->version);
  exchange.rows = job.rows;
  exchange.on_client_gone([this, inference] { dispatcher_.cancel(inference); });
  const std::shared_ptr<Shadow> shadow = make_shadow(job, inference);
  co_await wait_for(version->queue, inference);
  count(*version, *inference);
  if (shadow) shadow->compare();
  exchange.queue_ns = inference->queue_ns;
  exchange.compute_ns = inference->input_ns + inference->infer_ns + inference->output_ns;
  exchange.batch_rows = inference->batch_rows;
  if (inference->status != 200)
    throw Refusal(inference->status, inference->error, inference->retry_after_s);
  co_return inference;
}

void InferenceService::count(ServedVersion& version, const Inference& i) {
  VersionStats& s = version.stats;
  ++s.by_status[i.status];
  const auto took = ServeClock::now() - i.arrived;
  if (i.status != 200) {
    if (i.is_cancelled) ++s.cancelled;
    return s.fail.add(nanoseconds_of(took));
  }
  s.inferences += static_cast<std::uint64_t>(i.rows);
  s.last_inference_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
  s.success.add(nanoseconds_of(took));
  s.queue.add(i.queue_ns);
  s.input.add(i.input_ns);
  s.infer.add(i.infer_ns);
  s.output.add(i.output_ns);
  s.latency.add(std::chrono::duration<double>(took).count());
}

std::shared_ptr<InferenceService::Shadow> InferenceService::make_shadow(
    const Job& job, const InferencePtr& primary) {
  const ServedVersionPtr other = registry_.shadow_of(job.version->model);
  if (!other || other == job.version || !(other->manifest.input == job.version->manifest.input) ||
      !(other->manifest.output == job.version->manifest.output))
    return nullptr;
  const auto shadow = std::make_shared<Shadow>();
  shadow->from = job.version;
  shadow->other = other;
  shadow->primary = primary;
  Job copy = job;
  copy.version = other;
  constexpr int kAfterAllOthers = 1 << 20;
  copy.priority = kAfterAllOthers;
  // Behind the request itself, which so has the idle rank if there is one.
  net::post(io_, [this, shadow, copy] {
    try {
      const InferencePtr inference = make_inference(copy);
      inference->finished = [this, shadow, weak = std::weak_ptr(inference)] {
        const InferencePtr done = weak.lock();
        if (!done) return;
        count(*shadow->other, *done);
        if (done->status == 200) shadow->output = done->output;
        shadow->compare();
      };
      dispatcher_.submit(shadow->other->queue, inference);
    } catch (const Refusal&) {  // the shadow gets what is left over
    } catch (const OutOfMemory&) {
    }
  });
  return shadow;
}

}  // namespace phalanx
