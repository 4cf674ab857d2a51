// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "serve/shared_arena.hpp"

namespace phalanx {

using ServeClock = std::chrono::steady_clock;

/// Why a request gets no answer, as HTTP says it. The text is for the client: it names what was wrong with the request and
/// nothing of the server's inside.
class Refusal : public std::runtime_error {
 public:
  Refusal(int status, const std::string& text, int retry_after_s = 0)
      : std::runtime_error(text), status_(status), retry_after_s_(retry_after_s) {}

  int status() const noexcept { return status_; }
  int retry_after_s() const noexcept { return retry_after_s_; }  ///< 0: not said

 private:
  int status_, retry_after_s_;
};

/// The status of a request whose client went away; nobody sees it but the log.
inline constexpr int kClientGone = 499;

/// Rows for one version of a model, from the moment they are complete to their answers. Lives in the front end's thread.
struct Inference {
  SharedBlock input;   ///< f32 or u8 [rows, ...sample]
  SharedBlock output;  ///< f32 [rows, outputs]
  std::int64_t rows = 0;
  bool is_u8 = false;
  int priority = 0;  ///< lower goes first
  ServeClock::time_point arrived, deadline;
  bool is_cancelled = false;  ///< its client is gone: nobody wants the answer

  // Filled in until `finished` is called, once.
  std::function<void()> finished;
  int status = 0;  ///< 200, or as in Refusal
  std::string error;
  int retry_after_s = 0;
  std::uint64_t queue_ns = 0, input_ns = 0, infer_ns = 0, output_ns = 0;
  std::int64_t batch_rows = 0;  ///< of the batch that it was part of

  void finish(int with_status, std::string with_error = {}, int with_retry_after_s = 0) {
    status = with_status;
    error = std::move(with_error);
    retry_after_s = with_retry_after_s;
    if (const auto call = std::exchange(finished, nullptr)) call();
  }
};

using InferencePtr = std::shared_ptr<Inference>;

}  // namespace phalanx
