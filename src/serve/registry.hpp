// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "serve/dispatcher.hpp"
#include "serve/rank_group.hpp"
#include "serve/repository.hpp"
#include "serve/stats.hpp"

namespace phalanx {

enum class VersionState : std::uint8_t { kLoading, kReady, kUnloading, kUnavailable };
/// "READY", as the repository index says it.
std::string_view name(VersionState state) noexcept;

/// One version of a model that is, was or will be on the ranks. Requests hold it from their head to their answer, and it stays
/// on the ranks while anybody does.
struct ServedVersion {
  std::string model;
  std::int64_t version = 0;
  Manifest manifest;
  ModelConfig config;
  std::string folder;
  std::uint64_t handle = 0;
  VersionState state = VersionState::kLoading;
  std::string reason;  ///< why it is unavailable
  double load_seconds = 0;
  std::uint64_t memory_bytes = 0;  ///< per rank
  std::shared_ptr<ModelQueue> queue;
  VersionStats stats;

  /// Its manifest or files are not what they should be, so that no rank was asked to load it; `reason` says more.
  bool is_damaged() const noexcept { return manifest.name.empty(); }
  std::size_t sample_numel() const {
    return static_cast<std::size_t>(manifest.input.shape.numel());
  }
  std::size_t output_numel() const {
    return static_cast<std::size_t>(manifest.output.shape.numel());
  }
};
using ServedVersionPtr = std::shared_ptr<ServedVersion>;

struct ServedModelEntry {
  ModelConfig config;
  std::map<std::int64_t, ServedVersionPtr> versions;
  std::map<std::string, int> turns;  ///< of aliases with a share of the traffic
};

/// Which versions of which models are on the ranks. Loads beside traffic: a new version takes over when it is ready, and the
/// old one goes when its last request is answered. In the thread of the io_context.
class Registry {
 public:
  Registry(net::io_context& io, Repository repository, RankGroup& group, Dispatcher& dispatcher);

  /// Brings a model to what its config.json and its folder say now: also new versions, other aliases, a roll back. `done` gets
  /// what went wrong, or nothing. A version that cannot be loaded does not disturb those that are served. Changes of one model
  /// happen one after the other.
  using Done = std::function<void(const std::string& error)>;
  void load(const std::string& model, Done done);
  /// Serves a model that the ranks hold in memory.
  void adopt(const Manifest& manifest, Done done);
  /// Takes a model off the ranks. `done` is called when its last request is answered, or at once with an error
  /// if it is not served.
  void unload(const std::string& model, Done done);

  /// The version that answers a request: `which` is a version, an alias, or empty for the split of the aliases, or the highest
  /// version that is ready.
  /// Throws    Refusal 404 for an unknown name; 503 if it is not ready.
  ServedVersionPtr resolve(const std::string& model, const std::string& which = {});
  /// Gets a copy of the requests of a model; null: none.
  ServedVersionPtr shadow_of(const std::string& model);

  /// All ranks are there, without models: everything that is served is loaded again.
  void ranks_are_up();
  void ranks_are_lost(const std::string& why);
  /// Whether the ranks are there, with everything that they had.
  bool is_ready() const;

  const std::map<std::string, ServedModelEntry>& models() const noexcept { return models_; }
  const Repository& repository() const noexcept { return repository_; }
  const RankGroup& group() const noexcept { return group_; }

 private:
  struct Change;
  bool must_wait(const std::string& model, std::function<void()> later);
  Done ending_change(const std::string& model, Done done);
  ServedVersionPtr make_version(const std::string& model, std::int64_t version,
                                const ModelConfig& config,
                                const std::function<Manifest()>& manifest);
  void start_loading(const ServedVersionPtr& version, std::function<void()> done);
  void finish_change(const std::shared_ptr<Change>& change);
  void retire(const ServedVersionPtr& version, std::function<void()> done = {});
  void watch_retired(std::chrono::milliseconds after);
  void release_retired();

  Repository repository_;
  RankGroup& group_;
  Dispatcher& dispatcher_;
  std::map<std::string, ServedModelEntry> models_;
  /// Models that are being changed, and what waits for the end of that.
  std::map<std::string, std::deque<std::function<void()>>> changing_;
  struct Retired {
    ServedVersionPtr version;
    std::function<void()> done;
  };
  std::vector<Retired> retired_;
  net::steady_timer watch_;
  std::uint64_t next_handle_ = 1;
  int restoring_ = 0;  // versions that are loaded again
};

}  // namespace phalanx
