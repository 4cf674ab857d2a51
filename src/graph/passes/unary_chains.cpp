// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kMostLinks = 8;  // that unary_chain takes

/// A node as unary_chain spells it; nothing where it has no word for it.
std::optional<std::string> link_of(const Node& node) {
  const std::string_view op = node.op->name;
  if (node.backward) return std::nullopt;
  if (op == "elu") return fmt::format("elu({})", node.attributes.get_float("alpha", 1));
  if (op == "leaky_relu")
    return fmt::format("leaky_relu({})", node.attributes.get_float("alpha", 0.01));
  if (op == "gelu")
    return node.attributes.get_string("approximate", "none") == "tanh" ? "gelu(tanh)" : "gelu";
  for (std::string_view plain : {"relu", "sigmoid", "softplus", "tanh"})
    if (op == plain) return std::string(op);
  return std::nullopt;
}

/// For every node the one behind it in its chain, or kNoNode.
std::vector<NodeId> followers(const Graph& graph) {
  std::vector<int> uses(graph.values().size(), 0);
  std::vector<NodeId> reader(graph.values().size(), kNoNode);
  for (std::size_t n = 0; n < graph.nodes().size(); ++n)
    for (ValueId in : graph.nodes()[n].inputs)
      if (in != kNoValue) {
        ++uses[static_cast<std::size_t>(in)];
        reader[static_cast<std::size_t>(in)] = static_cast<NodeId>(n);
      }
  for (const auto& [name, id] : graph.outputs()) ++uses[static_cast<std::size_t>(id)];
  std::vector<NodeId> next(graph.nodes().size(), kNoNode);
  for (std::size_t n = 0; n < graph.nodes().size(); ++n) {
    const Node& node = graph.nodes()[n];
    if (!link_of(node)) continue;
    const auto out = static_cast<std::size_t>(node.outputs[0]);
    if (uses[out] == 1 && reader[out] != kNoNode &&
        link_of(graph.nodes()[static_cast<std::size_t>(reader[out])]))
      next[n] = reader[out];
  }
  return next;
}

}  // namespace

Graph fuse_unary_chains(const Graph& graph) {
  const std::vector<NodeId> next = followers(graph);
  std::vector<bool> follows(graph.nodes().size(), false);
  for (NodeId n : next)
    if (n != kNoNode) follows[static_cast<std::size_t>(n)] = true;

  // The nodes of each chain by its last one, which takes the place of all. A longer chain becomes several.
  std::vector<std::vector<std::size_t>> joined_by(graph.nodes().size());
  std::vector<bool> is_joined(graph.nodes().size(), false);
  for (std::size_t first = 0; first < graph.nodes().size(); ++first) {
    if (follows[first]) continue;
    std::vector<std::size_t> chain = {first};
    while (next[chain.back()] != kNoNode)
      chain.push_back(static_cast<std::size_t>(next[chain.back()]));
    for (std::size_t begin = 0; begin + 1 < chain.size(); begin += kMostLinks) {
      const std::span<const std::size_t> links =
          std::span(chain).subspan(begin, std::min(kMostLinks, chain.size() - begin));
      for (std::size_t link : links) is_joined[link] = true;
      joined_by[links.back()].assign(links.begin(), links.end());
    }
  }

  GraphCopier copier(graph);
  for (std::size_t n = 0; n < graph.nodes().size(); ++n) {
    const Node& node = graph.nodes()[n];
    if (!is_joined[n]) {
      copier.copy(node);
      continue;
    }
    if (joined_by[n].empty()) continue;
    std::vector<std::string> ops, names;
    for (std::size_t link : joined_by[n]) {
      ops.push_back(*link_of(graph.nodes()[link]));
      names.push_back(graph.nodes()[link].name);
    }
    Value y = graph.value(node.outputs[0]);
    y.producer = kNoNode;
    copier.replace(node.outputs[0], copier.to().add_value(std::move(y)));
    copier.to().add_node({.name = fmt::format("{}", fmt::join(names, "+")),
                          .op = &find_operator("unary_chain"),
                          .attributes = {{"ops", fmt::format("{}", fmt::join(ops, ","))}},
                          .inputs = {copier.mapped(graph.nodes()[joined_by[n].front()].inputs[0])},
                          .outputs = {copier.mapped(node.outputs[0])}});
  }
  return copier.finish();
}

}  // namespace phalanx
