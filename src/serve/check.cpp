// SPDX-License-Identifier: Apache-2.0
#include "serve/check.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/text.hpp"
#include "serve/repository.hpp"
#include "serve/safe_file.hpp"

namespace phalanx {
namespace {

class Checker {
 public:
  explicit Checker(const FrontOptions& options) : options_(options) {}

  ServeCheck run() {
    if (!options_.gate.keys_file.empty())
      attempt([&] {
        const ApiKeys keys = read_keys(options_.gate.keys_file);
        found_.lines.push_back(fmt::format("keys {}: {}", options_.gate.keys_file, keys.size()));
      });
    if (!options_.http.certificate.empty())
      attempt([&] {
        check_certificate(options_.http);
        found_.lines.push_back(fmt::format("certificate {}: valid", options_.http.certificate));
      });
    attempt([&] {
      check_listening(options_.http);
      found_.lines.push_back(
          options_.http.port == 0
              ? fmt::format("address {}: can be listened on", options_.http.address)
              : fmt::format("port {}:{}: free", options_.http.address, options_.http.port));
    });
    attempt([&] {
      const Repository repository(options_.repository);
      for (const std::string& model :
           options_.models.empty() ? repository.models() : options_.models)
        check_model(repository, model);
    });
    return std::move(found_);
  }

 private:
  template <class Work>
  bool attempt(Work work) {
    try {
      work();
      return true;
    } catch (const Error& e) {
      found_.errors.emplace_back(e.what());
      return false;
    }
  }

  void check_model(const Repository& repository, const std::string& model) {
    std::vector<std::int64_t> published, wanted;
    attempt([&] {
      if (!repository.has(model))
        throw InvalidInput(fmt::format("{}: there is no model '{}'", options_.repository, model));
      published = repository.versions(model);
      wanted = wanted_versions(model, repository.config(model), published);
    });
    for (const std::int64_t version : published) {
      Manifest manifest;
      const bool is_good = attempt([&] {
        manifest = repository.manifest(model, version);
        check_digests(repository.version_folder(model, version), manifest);
      });
      const bool is_served = std::ranges::find(wanted, version) != wanted.end();
      found_.lines.push_back(fmt::format("{} {}: {}{}", model, version,
                                         is_good ? summary(manifest) : "damaged",
                                         is_served ? "" : ", not served"));
    }
  }

  static void check_digests(const std::string& folder, const Manifest& manifest) {
    for (const auto& [name, file] : manifest.files) {
      const SafeFile opened(folder, name);
      if (const std::string found = opened.sha256(); found != file.sha256)
        throw InvalidInput(fmt::format("{}: has the SHA-256 {}, expected {} as in {}",
                                       opened.path(), found, file.sha256, kManifestFile));
    }
  }

  static std::string summary(const Manifest& manifest) {
    std::uint64_t bytes = 0;
    for (const auto& [name, file] : manifest.files) bytes += file.size_bytes;
    return fmt::format("{}, {} -> {}, {}, sha256 {}", name(manifest.task),
                       manifest.input.shape.str(), manifest.output.shape.str(), human_bytes(bytes),
                       manifest.files.at(kWeightsFile).sha256.substr(0, 16));
  }

  const FrontOptions& options_;
  ServeCheck found_;
};

}  // namespace

ServeCheck check_serving(const FrontOptions& options) { return Checker(options).run(); }

}  // namespace phalanx
