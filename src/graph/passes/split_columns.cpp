// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "graph/passes/copier.hpp"
#include "graph/passes/passes.hpp"

namespace phalanx {

ColumnSplit split_columns(const Graph& graph, std::int64_t begin, std::int64_t end) {
  const ValueId x = graph.input("x");
  const std::int64_t batch = graph.value(x).type.shape[0];
  GraphCopier copier(graph);
  Graph& to = copier.to();
  to.value(copier.mapped(x)).type = {DType::kF32, Shape{batch, end - begin}};
  std::string weight;
  ValueId columns = x;  // what carries the input's columns: x itself, or x made flat
  for (const Node& node : graph.nodes()) {
    const bool reads =
        std::find(node.inputs.begin(), node.inputs.end(), columns) != node.inputs.end();
    if (!reads || !weight.empty()) {
      if (reads) throw ConfigError("partition = column: only one layer may read the input");
      copier.copy(node);
      continue;
    }
    if (node.op->name == "flatten") {
      copier.replace(node.outputs[0], copier.mapped(x));
      columns = node.outputs[0];
      continue;
    }
    const bool is_dense = node.op->name == "gemm" && node.attributes.get_int("transB", 0) == 1 &&
                          node.inputs[0] == columns;
    if (!is_dense)
      throw ConfigError(fmt::format("partition = column needs a dense layer first, found '{}' ({})",
                                    node.name, node.op->name));
    const ValueId w = copier.mapped(node.inputs[1]);
    weight = to.value(w).name;
    to.value(w).type = {DType::kF32, Shape{to.value(w).type.shape[0], end - begin}};
    Attributes of_part = node.attributes;  // what is not linear comes after the sum
    const std::string activation(of_part.get_string("activation", ""));
    of_part.set("activation", std::string());
    const ValueId part =
        to.add_one("gemm", of_part, {copier.mapped(columns), w}, node.name + ".part");
    ValueId y = to.add_one("all_reduce", {}, {part}, node.name + ".sum");
    if (node.inputs.size() == 3 && node.inputs[2] != kNoValue)
      y = to.add_one("add", {}, {y, copier.mapped(node.inputs[2])}, node.name);
    if (!activation.empty()) y = to.add_one(activation, {}, {y}, node.name + "." + activation);
    copier.replace(node.outputs[0], y);
  }
  if (weight.empty()) throw ConfigError("partition = column: no layer reads the input");
  return {copier.finish(), weight};
}

}  // namespace phalanx
