// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "serve/http_stats.hpp"
#include "serve/prometheus.hpp"
#include "serve/protocol/dashboard.hpp"
#include "serve/protocol/openapi.hpp"

namespace phalanx {
namespace {

TEST(Prometheus, EscapesLabelValues) {
  EXPECT_EQ(MetricLabels().with("a", "x\"y\\z\nw").with("b", "").text(), R"(a="x\"y\\z\nw",b="")");
}

TEST(Prometheus, WritesAHistogramWithSummedBuckets) {
  PrometheusText text;
  text.family("seconds", "histogram", "Time.");
  text.add_histogram(MetricLabels().with("model", "m"), std::array{0.5, 1.0},
                     std::array<std::uint64_t, 3>{2, 0, 3}, 7.25);
  EXPECT_EQ(text.text(), R"(# HELP seconds Time.
# TYPE seconds histogram
seconds_bucket{model="m",le="0.5"} 2
seconds_bucket{model="m",le="1"} 2
seconds_bucket{model="m",le="+Inf"} 5
seconds_sum{model="m"} 7.25
seconds_count{model="m"} 5
)");
}

TEST(Prometheus, KeepsTheDigitsOfLargeCounters) {
  PrometheusText text;
  text.family("bytes", "counter", "Size.");
  text.add({}, 123456789012.0);
  EXPECT_THAT(text.text(), testing::EndsWith("bytes 123456789012\n"));
}

TEST(HttpStats, CountsByRouteAndStatus) {
  HttpStats stats;
  stats.add({.status = 400, .received_bytes = 5, .sent_bytes = 7, .seconds = 0.5});
  stats.add({.status = 503, .received_bytes = 1, .sent_bytes = 1, .seconds = 0.25});
  EXPECT_EQ(stats.requests, 2u);
  EXPECT_EQ(stats.received_bytes, 6u);
  EXPECT_EQ(stats.by_class[4], 1u);
  EXPECT_EQ(stats.by_class[5], 1u);
  EXPECT_EQ(stats.by_route.at({"", 400}), 1u);
  EXPECT_DOUBLE_EQ(stats.seconds.sum(), 0.75);
}

TEST(OpenApi, ListsMethodsPlacesAndRights) {
  const std::vector<Route> routes = {
      {"GET", "/models/{model}/versions/{version}", Access::kInfer, "About a version", {}},
      {"POST",
       "/models/{model}/versions/{version}",
       Access::kAdmin,
       "Changes it",
       {},
       {},
       "RepositoryChange"},
      {"POST", "/ask/{model}", Access::kInfer, "Asks it", {}, "PredictAnswer", "PredictRequest"},
      {"GET", "/", Access::kPublic, "The page", {}}};
  const auto document = nlohmann::json::parse(openapi_document(
      routes, "1.2.3", {{"small", {"x", Shape{2, 2}}}, {"large", {"x", Shape{100, 100}}}}));
  EXPECT_EQ(document["info"]["version"], "1.2.3");
  const auto& path = document["paths"]["/models/{model}/versions/{version}"];
  EXPECT_EQ(path["get"]["summary"], "About a version");
  ASSERT_EQ(path["get"]["parameters"].size(), 2u);
  EXPECT_EQ(path["get"]["parameters"][1]["name"], "version");
  EXPECT_EQ(path["get"]["parameters"][1]["required"], true);
  EXPECT_EQ(path["get"]["security"][0]["key"][0], "infer");
  EXPECT_EQ(path["post"]["security"][0]["key"][0], "admin");
  EXPECT_FALSE(path["get"].contains("requestBody"));
  EXPECT_EQ(path["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            "#/components/schemas/RepositoryChange");
  const auto& ask = document["paths"]["/ask/{model}"]["post"];
  const auto& body = ask["requestBody"]["content"];
  EXPECT_TRUE(body.contains("image/png"));
  EXPECT_EQ(body["application/json"]["examples"].size(), 1u) << "of short samples only";
  EXPECT_EQ(body["application/json"]["examples"]["small"]["value"]["input"].dump(), "[0,0,0,0]");
  EXPECT_TRUE(ask["responses"]["2XX"]["content"].contains("application/json"));
  EXPECT_EQ(document["paths"]["/"]["get"]["security"], nlohmann::json::array());
  EXPECT_NE(path["get"]["operationId"], path["post"]["operationId"]);
}

TEST(Dashboard, HoldsItsFilesAndNothingFromElsewhere) {
  std::set<std::string_view> names;
  for (const DashboardFile& file : dashboard_files()) {
    names.insert(file.name);
    EXPECT_FALSE(file.text.empty()) << file.name;
    EXPECT_EQ(file.digest.size(), 32u) << file.name;
    // Namespaces of SVG are names, nobody opens them.
    for (std::size_t at = file.text.find("://"); at != std::string_view::npos;
         at = file.text.find("://", at + 1))
      EXPECT_EQ(file.text.substr(at, 13), "://www.w3.org") << file.name;
  }
  EXPECT_THAT(names, testing::IsSupersetOf({"index.html", "style.css", "app.js", "icon.svg"}));
  EXPECT_EQ(dashboard_routes().size(), names.size());
}

}  // namespace
}  // namespace phalanx
