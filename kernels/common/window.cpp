// SPDX-License-Identifier: Apache-2.0
#include "common/window.hpp"

#include <fmt/ranges.h>

namespace phalanx {
namespace {

Ints checked(std::string_view op, const Attributes& attributes, std::string_view name,
             Ints fallback, std::int64_t least) {
  const std::size_t size = fallback.size();
  Ints values = attributes.get_ints(name, std::move(fallback));
  if (values.size() != size ||
      std::ranges::any_of(values, [&](std::int64_t v) { return v < least; }))
    throw InvalidArgument(fmt::format("{}: {} must be {} integers of at least {}, found [{}]", op,
                                      name, size, least, fmt::join(values, ", ")));
  return values;
}

/// Padding that keeps the size, for a stride of 1, or divides it by the stride, rounding up.
void pad_same(WindowAxis& axis, bool upper) {
  axis.out = (axis.in + axis.stride - 1) / axis.stride;
  const std::int64_t total =
      std::max<std::int64_t>((axis.out - 1) * axis.stride + axis.extent() - axis.in, 0);
  axis.pad_begin = upper ? total / 2 : total - total / 2;
  axis.pad_end = total - axis.pad_begin;
}

void count_outputs(std::string_view op, WindowAxis& axis, bool ceil_mode) {
  const std::int64_t room = axis.in + axis.pad_begin + axis.pad_end - axis.extent();
  if (axis.in < 1 || room < 0)
    throw InvalidArgument(
        fmt::format("{}: a window of {} cells does not fit on an axis of {} with padding {} + {}",
                    op, axis.extent(), axis.in, axis.pad_begin, axis.pad_end));
  axis.out = room / axis.stride + 1;
  if (ceil_mode && room % axis.stride != 0 && axis.start(axis.out) < axis.in) ++axis.out;
}

void require_cells(std::string_view op, const WindowAxis& axis) {
  for (std::int64_t o = 0; o < axis.out; ++o)
    if (axis.cells(o).size() == 0)
      throw InvalidArgument(
          fmt::format("{}: window {} of an axis of {} holds nothing but padding", op, o, axis.in));
}

}  // namespace

Window2d window_2d(std::string_view op, const Attributes& attributes, std::int64_t height,
                   std::int64_t width, const Ints& kernel_shape) {
  const Ints strides = checked(op, attributes, "strides", {1, 1}, 1);
  const Ints dilations = checked(op, attributes, "dilations", {1, 1}, 1);
  const Ints pads = checked(op, attributes, "pads", {0, 0, 0, 0}, 0);
  const std::string_view auto_pad = attributes.get_string("auto_pad", "NOTSET");
  const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
  if (!same && auto_pad != "NOTSET" && auto_pad != "VALID")
    throw InvalidArgument(fmt::format(
        "{}: auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, found '{}'", op, auto_pad));
  if (auto_pad != "NOTSET" && std::ranges::any_of(pads, [](std::int64_t p) { return p != 0; }))
    throw InvalidArgument(fmt::format("{}: auto_pad {} excludes pads", op, auto_pad));
  Window2d window{{.in = height}, {.in = width}};
  for (std::size_t i : {0u, 1u}) {
    WindowAxis& axis = i == 0 ? window.h : window.w;
    axis.kernel = kernel_shape[i];
    axis.stride = strides[i];
    axis.dilation = dilations[i];
    axis.pad_begin = pads[i];
    axis.pad_end = pads[i + 2];
    if (same) pad_same(axis, auto_pad == "SAME_UPPER");
    count_outputs(op, axis, attributes.get_int("ceil_mode", 0) != 0 && !same);
  }
  return window;
}

Window2d pool_window(std::string_view op, const Attributes& attributes, const Shape& x) {
  if (x.rank() != 4)
    throw InvalidArgument(fmt::format("{} needs images [N, C, H, W], found {}", op, x.str()));
  if (!attributes.has("kernel_shape"))
    throw InvalidArgument(fmt::format("{} needs kernel_shape", op));
  const Window2d window =
      window_2d(op, attributes, x[2], x[3], checked(op, attributes, "kernel_shape", {1, 1}, 1));
  require_cells(op, window.h);
  require_cells(op, window.w);
  return window;
}

}  // namespace phalanx
