// SPDX-License-Identifier: Apache-2.0
// Asks a running server in the binary form of the Open Inference Protocol, over many connections at once, and compares with
// the bare model in this process:
//   bench_serve --repository FOLDER --model NAME --port N [--rows N] [--connections N] [--seconds S]
//
// First the model alone is timed here, in batches of `rows` and of its largest size, with one thread; then the server is asked
// by one connection, which gives the overhead of a request, and by all of them, which gives the rate at saturation.
#include <fmt/format.h>

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"
#include "serve/asio.hpp"
#include "serve/repository.hpp"
#include "serve/served_model.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

namespace phalanx {
namespace {

using Clock = std::chrono::steady_clock;
using Tcp = net::ip::tcp;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double quantile(std::vector<double>& values, double share) {
  const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

/// The model without a server.
class BareModel {
 public:
  BareModel(const Repository& repository, const std::string& name)
      : version_(repository.versions(name).back()),
        manifest_(repository.manifest(name, version_)),
        most_(repository.config(name).max_batch_size),
        model_(ServedModel::load(manifest_, repository.version_folder(name, version_), most_,
                                 Device{})),
        input_(static_cast<std::size_t>(most_) * model_->sample_bytes(false)),
        output_(static_cast<std::size_t>(most_) * model_->output_numel()) {}

  const Manifest& manifest() const noexcept { return manifest_; }
  std::int64_t most() const noexcept { return most_; }

  /// Seconds of one call, the median over half a second.
  double time(std::int64_t rows) {
    const ServedModel::Part part{input_.data(), output_.data(), rows, false};
    std::vector<double> times;
    const auto begin = Clock::now();
    while (seconds_since(begin) < 0.5 || times.size() < 5) {
      const auto call = Clock::now();
      model_->run({&part, 1});
      times.push_back(seconds_since(call));
    }
    return quantile(times, 0.5);
  }

 private:
  std::int64_t version_;
  Manifest manifest_;
  std::int64_t most_;
  std::unique_ptr<ServedModel> model_;
  std::vector<std::byte> input_;
  std::vector<float> output_;
};

std::string request_of(const std::string& model, const Manifest& manifest, std::int64_t rows) {
  const auto values = static_cast<std::size_t>(rows * manifest.input.shape.numel());
  std::string shape = fmt::format("{}", rows);
  for (std::int64_t size : manifest.input.shape.sizes()) shape += fmt::format(",{}", size);
  const std::string head = fmt::format(
      R"({{"inputs":[{{"name":"{}","shape":[{}],"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}],)"
      R"("parameters":{{"binary_data_output":true}}}})",
      manifest.input.name, shape, values * sizeof(float));
  std::string request = fmt::format(
      "POST /v2/models/{}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n"
      "Inference-Header-Content-Length: {}\r\n\r\n{}",
      model, head.size() + values * sizeof(float), head.size(), head);
  request.append(values * sizeof(float), '\0');
  return request;
}

struct Load {
  const std::string& request;
  Tcp::endpoint server;
  Clock::time_point end;
  std::vector<double> times;
  std::uint64_t failed = 0;
};

Awaitable<void> ask(Load& load) {
  Tcp::socket socket(co_await net::this_coro::executor);
  co_await socket.async_connect(load.server, net::use_awaitable);
  socket.set_option(Tcp::no_delay(true));
  std::string answer;
  while (Clock::now() < load.end) {
    const auto begin = Clock::now();
    co_await net::async_write(socket, net::buffer(load.request), net::use_awaitable);
    answer.clear();
    auto buffer = net::dynamic_buffer(answer);
    const std::size_t head =
        co_await net::async_read_until(socket, buffer, "\r\n\r\n", net::use_awaitable);
    const std::size_t at = answer.find("Content-Length: ");
    const auto body = static_cast<std::size_t>(std::atoll(answer.c_str() + at + 16));
    if (answer.size() < head + body) {
      const auto missing = net::transfer_exactly(head + body - answer.size());
      co_await net::async_read(socket, buffer, missing, net::use_awaitable);
    }
    load.times.push_back(seconds_since(begin));
    if (!answer.starts_with("HTTP/1.1 200")) ++load.failed;
  }
}

Load ask_all(const std::string& request, int port, std::int64_t connections, double seconds) {
  net::io_context io(1);
  const auto duration =
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  Load load{request,
            {net::ip::address_v4::loopback(), static_cast<std::uint16_t>(port)},
            Clock::now() + duration,
            {},
            0};
  for (std::int64_t i = 0; i < connections; ++i)
    net::co_spawn(io, ask(load), [](std::exception_ptr e) {
      if (e) std::rethrow_exception(e);
    });
  io.run();
  return load;
}

void run(const std::map<std::string, std::string>& options) {
  const auto number = [&](const char* name, std::int64_t fallback) {
    const auto found = options.find(name);
    return found == options.end() ? fallback : parse_int(found->second);
  };
  const std::string name = options.at("--model");
  omp_set_num_threads(1);
  BareModel bare(Repository(options.at("--repository")), name);
  const std::int64_t rows = number("--rows", 1),
                     connections = number("--connections", 2 * bare.most());
  const auto port = static_cast<int>(parse_int(options.at("--port")));
  const auto seconds = static_cast<double>(number("--seconds", 5));
  const std::string request = request_of(name, bare.manifest(), rows);
  const double one = bare.time(rows), full = bare.time(bare.most());
  fmt::print("bare model, 1 thread: {:.1f} us for {} row(s), {:.0f} rows/s in batches of {}\n",
             one * 1e6, rows, static_cast<double>(bare.most()) / full, bare.most());
  Load alone = ask_all(request, port, 1, seconds / 2);
  const double p50 = quantile(alone.times, 0.5);
  fmt::print(
      "1 connection: p50 {:.1f} us, p99 {:.1f} us; overhead over the bare model p50 {:.1f} us; {} "
      "failed\n",
      p50 * 1e6, quantile(alone.times, 0.99) * 1e6, (p50 - bare.time(rows)) * 1e6, alone.failed);
  Load all = ask_all(request, port, connections, seconds);
  const double rate = static_cast<double>(all.times.size()) / seconds;
  fmt::print(
      "{} connections: {:.0f} requests/s, {:.0f} rows/s, p50 {:.2f} ms, p99 {:.2f} ms; {} failed\n",
      connections, rate, rate * static_cast<double>(rows), quantile(all.times, 0.5) * 1e3,
      quantile(all.times, 0.99) * 1e3, all.failed);
}

}  // namespace
}  // namespace phalanx

int main(int argc, char** argv) {
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  if (!options.contains("--repository") || !options.contains("--model") ||
      !options.contains("--port")) {
    fmt::print(stderr,
               "usage: bench_serve --repository FOLDER --model NAME --port N [--rows N] "
               "[--connections N] [--seconds S]\n");
    return static_cast<int>(phalanx::ExitCode::kUsage);
  }
  try {
    phalanx::run(options);
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_serve: {}\n", e.what());
    return static_cast<int>(phalanx::ExitCode::kFailed);
  }
}
