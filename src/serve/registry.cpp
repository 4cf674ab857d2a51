// SPDX-License-Identifier: Apache-2.0
#include "serve/registry.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/log.hpp"

namespace phalanx {

std::string_view name(VersionState state) noexcept {
  constexpr std::string_view kNames[] = {"LOADING", "READY", "UNLOADING", "UNAVAILABLE"};
  return kNames[static_cast<std::size_t>(state)];
}

/// A model on its way to what its folder says.
struct Registry::Change {
  std::string model;
  ModelConfig config;
  std::map<std::int64_t, ServedVersionPtr> versions;  // kept and new
  int loading = 0;
  bool is_first = false;  // of this model
  std::string error;
  Done done;
};

Registry::Registry(net::io_context& io, Repository repository, RankGroup& group,
                   Dispatcher& dispatcher)
    : repository_(std::move(repository)), group_(group), dispatcher_(dispatcher), watch_(io) {}

ServedVersionPtr Registry::make_version(const std::string& model, std::int64_t version,
                                        const ModelConfig& config,
                                        const std::function<Manifest()>& manifest) {
  auto made = std::make_shared<ServedVersion>();
  made->model = model;
  made->version = version;
  made->config = config;
  made->folder = repository_.version_folder(model, version);
  made->handle = next_handle_++;
  try {
    made->manifest = manifest();
  } catch (const Error& e) {
    made->state = VersionState::kUnavailable;
    made->reason = e.what();
  }
  const std::weak_ptr<ServedVersion> weak = made;
  made->queue = std::make_shared<ModelQueue>(made->handle, config, made->output_numel(),
                                             [weak](std::int64_t rows, const BatchResult& result) {
                                               const ServedVersionPtr v = weak.lock();
                                               if (v && !result.is_lost && result.error.empty()) {
                                                 ++v->stats.executions;
                                                 auto& batch = v->stats.batches[rows];
                                                 batch.input.add(result.input_ns);
                                                 batch.infer.add(result.infer_ns);
                                                 batch.output.add(result.output_ns);
                                               }
                                             });
  return made;
}

void Registry::start_loading(const ServedVersionPtr& version, std::function<void()> done) {
  version->state = VersionState::kLoading;
  group_.load({.handle = version->handle,
               .manifest = to_json(version->manifest),
               .folder = version->folder,
               .max_batch_size = version->config.max_batch_size},
              [this, version, done = std::move(done)](const RankGroup::Loaded& loaded) {
                // It was taken off before it had come, or is there on some ranks only.
                const bool is_retired = version->state == VersionState::kUnloading;
                if (is_retired || !loaded.error.empty()) group_.unload(version->handle);
                if (is_retired) return done();
                version->load_seconds = loaded.seconds;
                version->memory_bytes = loaded.memory_bytes;
                version->reason = loaded.error;
                version->state =
                    loaded.error.empty() ? VersionState::kReady : VersionState::kUnavailable;
                if (loaded.error.empty()) dispatcher_.add(version->queue);
                done();
              });
}

bool Registry::must_wait(const std::string& model, std::function<void()> later) {
  const auto [found, is_first] = changing_.try_emplace(model);
  if (!is_first) found->second.push_back(std::move(later));
  return !is_first;
}

/// The first of those that wait takes its turn then; the others line up behind it again.
Registry::Done Registry::ending_change(const std::string& model, Done done) {
  return [this, model, done = std::move(done)](const std::string& error) {
    const auto waiting = std::move(changing_[model]);
    changing_.erase(model);
    done(error);
    for (const auto& next : waiting) next();
  };
}

void Registry::load(const std::string& model, Done done) {
  if (must_wait(model, [this, model, done] { load(model, done); })) return;
  const auto change = std::make_shared<Change>();
  change->model = model;
  change->done = ending_change(model, std::move(done));
  change->is_first = !models_.contains(model);
  try {
    if (!repository_.has(model)) throw InvalidInput(fmt::format("there is no model '{}'", model));
    change->config = repository_.config(model);
    const bool is_same_config =
        models_.contains(model) && to_json(models_[model].config) == to_json(change->config);
    std::vector<ServedVersionPtr> fresh;
    for (const std::int64_t version :
         wanted_versions(model, change->config, repository_.versions(model))) {
      const auto& have = models_[model].versions;
      const auto found = have.find(version);
      const bool is_kept = is_same_config && found != have.end() &&
                           found->second->state != VersionState::kUnavailable;
      const ServedVersionPtr v =
          is_kept ? found->second : make_version(model, version, change->config, [&] {
            return repository_.manifest(model, version);
          });
      change->versions[version] = v;
      if (!v->is_damaged()) {
        if (!is_kept) fresh.push_back(v);
      } else if (change->error.empty()) {
        change->error = v->reason;
      }
    }
    change->loading = static_cast<int>(fresh.size());
    if (fresh.empty()) return finish_change(change);
    for (const ServedVersionPtr& v : fresh) {
      models_[model].versions.try_emplace(v->version,
                                          v);  // where there is none, the index shows it
      start_loading(v, [this, change, v] {
        if (!v->reason.empty() && change->error.empty()) change->error = v->reason;
        if (--change->loading == 0) finish_change(change);
      });
    }
  } catch (const std::exception& e) {  // whatever it was: the next change must have its turn
    if (models_.contains(model) && models_[model].versions.empty()) models_.erase(model);
    change->done(e.what());
  }
}

/// What is ready takes over; what is not wanted any more goes.
void Registry::finish_change(const std::shared_ptr<Change>& change) {
  ServedModelEntry& entry = models_[change->model];
  for (auto& [version, fresh] : change->versions) {
    ServedVersionPtr& place = entry.versions[version];
    if (place == fresh) continue;
    if (fresh->state == VersionState::kReady) {
      if (place) retire(place);
      place = fresh;
    } else if (!place) {
      place = fresh;
    }
  }
  if (change->is_first) entry.config = change->config;
  if (change->error.empty()) {
    entry.config = change->config;
    entry.turns.clear();
    std::vector<ServedVersionPtr> gone;
    std::erase_if(entry.versions, [&](const auto& item) {
      const bool is_wanted = change->versions.contains(item.first);
      if (!is_wanted) gone.push_back(item.second);
      return !is_wanted;
    });
    for (const ServedVersionPtr& v : gone) retire(v);
  }
  change->done(change->error);
}

void Registry::adopt(const Manifest& manifest, Done done) {
  const ServedVersionPtr v =
      make_version(manifest.name, manifest.version, {}, [&] { return manifest; });
  models_[v->model].versions[v->version] = v;
  start_loading(v, [v, done = std::move(done)] { done(v->reason); });
}

void Registry::unload(const std::string& model, Done done) {
  if (must_wait(model, [this, model, done] { unload(model, done); })) return;
  const Done end = ending_change(model, std::move(done));
  const auto found = models_.find(model);
  if (found == models_.end()) return end(fmt::format("model '{}' is not served", model));
  const auto versions = std::move(found->second.versions);
  models_.erase(found);
  const auto left = std::make_shared<std::size_t>(versions.size());
  if (*left == 0) return end({});
  for (const auto& [version, served] : versions)
    retire(served, [left, end] {
      if (--*left == 0) end({});
    });
}

void Registry::retire(const ServedVersionPtr& version, std::function<void()> done) {
  version->state = VersionState::kUnloading;
  retired_.push_back({version, std::move(done)});
  watch_retired(std::chrono::milliseconds(0));
}

/// The last request may let go of a version in many ways: answered, late, cancelled, refused, or with its body cut short. So
/// nobody tells; somebody looks.
void Registry::watch_retired(std::chrono::milliseconds after) {
  constexpr std::chrono::milliseconds kPause{10};
  watch_.expires_after(after);
  watch_.async_wait([this, kPause](auto error) {
    if (error) return;
    release_retired();
    if (!retired_.empty()) watch_retired(kPause);
  });
}

void Registry::release_retired() {
  const auto idle = std::ranges::partition(retired_, [](const Retired& r) {
    return r.version.use_count() > 1 || !r.version->queue->is_idle();
  });
  const std::vector<Retired> gone(idle.begin(), idle.end());
  retired_.erase(idle.begin(), idle.end());
  for (const Retired& r : gone) {
    dispatcher_.remove(r.version->queue);
    group_.unload(r.version->handle);
    if (r.done) r.done();
  }
}

ServedVersionPtr Registry::resolve(const std::string& model, const std::string& which) {
  const auto found = models_.find(model);
  if (found == models_.end()) throw Refusal(404, fmt::format("there is no model '{}'", model));
  ServedModelEntry& entry = found->second;
  std::int64_t version = 0;
  if (const auto alias = entry.config.aliases.find(which); alias != entry.config.aliases.end()) {
    version = alias->second.version;
  } else if (!which.empty()) {
    for (const auto& [number, served] : entry.versions)
      if (fmt::format("{}", number) == which) version = number;
    if (version == 0)
      throw Refusal(404, fmt::format("model '{}' has no version or alias '{}'", model, which));
  } else {
    // Every alias moves up by its percent; the first goes, and falls back by all of them (smooth weighted round robin).
    std::string first;
    for (const auto& [name, a] : entry.config.aliases) {
      if (a.percent == 0) continue;
      entry.turns[name] += a.percent;
      if (first.empty() || entry.turns[name] > entry.turns[first]) first = name;
    }
    if (!first.empty()) {
      entry.turns[first] -= 100;
      version = entry.config.aliases.at(first).version;
    } else {
      for (const auto& [number, served] : entry.versions)
        if (served->state == VersionState::kReady || version == 0) version = number;
    }
  }
  const auto served = entry.versions.find(version);
  if (served == entry.versions.end() || served->second->state != VersionState::kReady)
    throw Refusal(503, fmt::format("version {} of model '{}' is not ready", version, model), 1);
  return served->second;
}

ServedVersionPtr Registry::shadow_of(const std::string& model) {
  const auto found = models_.find(model);
  if (found == models_.end() || found->second.config.shadow_version == 0) return nullptr;
  const auto version = found->second.versions.find(found->second.config.shadow_version);
  const bool is_ready =
      version != found->second.versions.end() && version->second->state == VersionState::kReady;
  return is_ready ? version->second : nullptr;
}

void Registry::ranks_are_up() {
  for (auto& [name, entry] : models_)
    for (auto& [number, served] : entry.versions) {
      if (served->is_damaged()) continue;
      const ServedVersionPtr v = served;
      ++restoring_;
      start_loading(v, [this, v] {
        --restoring_;
        if (v->state == VersionState::kUnavailable && group_.is_up())
          log_error("version {} of model '{}' could not be loaded: {}", v->version, v->model,
                    v->reason);
      });
    }
}

void Registry::ranks_are_lost(const std::string& why) {
  for (auto& [name, entry] : models_)
    for (auto& [number, served] : entry.versions) {
      if (served->is_damaged()) continue;
      served->state = VersionState::kUnavailable;
      served->reason = why;
    }
}

bool Registry::is_ready() const { return group_.is_up() && restoring_ == 0; }

}  // namespace phalanx
