// SPDX-License-Identifier: Apache-2.0
#include "values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace phalanx::operators_test {
namespace {

// Calls f(logical, physical) for every element.
template <class F>
void for_each_element(const TensorType& type, F f) {
  const std::int64_t count = type.shape.numel(), block = type.channel_block;
  if (block == 1) {
    for (std::int64_t i = 0; i < count; ++i) f(i, i);
    return;
  }
  const std::int64_t channels = type.shape[1], pixels = type.shape[2] * type.shape[3];
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t n = i / (channels * pixels), c = i / pixels % channels, p = i % pixels;
    f(i, n * channels * pixels + (c / block * pixels + p) * block + c % block);
  }
}

template <class F>
void with_type(DType dtype, F f) {
  switch (dtype) {
    case DType::kF32: return f.template operator()<float>();
    case DType::kBf16: return f.template operator()<Bf16>();
    case DType::kI64: return f.template operator()<std::int64_t>();
    case DType::kI32: return f.template operator()<std::int32_t>();
    case DType::kU8: return f.template operator()<std::uint8_t>();
  }
}

template <class T>
T from_double(double value) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return Bf16(static_cast<float>(value));
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(std::llround(value));
  } else {
    return static_cast<T>(value);
  }
}

template <class T>
double to_double(T value) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return static_cast<double>(static_cast<float>(value));
  } else {
    return static_cast<double>(value);
  }
}

// In f32 all values differ by 0.05. bf16 has too few for that: there, elements differ if they are
// less than 4096 places apart, by 2^-13 or more, which is far above the step of the differences.
Values distinct(const TensorType& type, std::mt19937_64& engine) {
  const auto count = static_cast<std::size_t>(type.shape.numel());
  const std::size_t levels =
      type.dtype == DType::kBf16 ? std::min<std::size_t>(count, 4096) : count;
  Values level(levels);
  for (std::size_t i = 0; i < levels; ++i) {
    if (type.dtype == DType::kBf16) {
      const double magnitude =
          std::ldexp(1.0 + static_cast<double>(i / 2 % 128) / 128.0, static_cast<int>(i / 256) - 6);
      level[i] = i % 2 == 0 ? magnitude : -magnitude;
    } else {
      level[i] = 0.0625 * (static_cast<double>(i) - static_cast<double>(levels) / 2);
    }
  }
  std::ranges::shuffle(level, engine);
  Values values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = level[i % levels];
  return values;
}

double unit(std::mt19937_64& engine) { return static_cast<double>(engine() >> 11) * 0x1p-53; }

// Four uniform numbers from one word: their sum has variance 1/3 and is close enough to normal.
double normal(std::mt19937_64& engine) {
  const std::uint64_t word = engine();
  double sum = 0;
  for (int k = 0; k < 64; k += 16) sum += static_cast<double>(word >> k & 0xffffu) + 0.5;
  return (sum * 0x1p-16 - 2.0) * std::sqrt(3.0);
}

double draw_one(Fill fill, DType dtype, std::int64_t classes, std::mt19937_64& engine) {
  switch (fill) {
    case Fill::kNormal:
      return dtype == DType::kU8 ? std::floor(256 * unit(engine)) : normal(engine);
    case Fill::kAwayFromZero: {
      const double x = normal(engine);
      return x < 0 ? std::min(x, -0.1) : std::max(x, 0.1);
    }
    case Fill::kPositive: return 0.5 + 1.5 * unit(engine);
    case Fill::kUnit: return 0.05 + 0.9 * unit(engine);
    case Fill::kLabels: return std::floor(unit(engine) * static_cast<double>(classes));
    case Fill::kZeroOrOne: return unit(engine) < 0.5 ? 0.0 : 1.0;
    case Fill::kDistinct: break;
  }
  return 0.0;
}

}  // namespace

double rounded(double value, DType dtype) {
  double result = 0;
  with_type(dtype, [&]<class T>() { result = to_double(from_double<T>(value)); });
  return result;
}

void store(const Values& values, const TensorType& type, void* to) {
  with_type(type.dtype, [&]<class T>() {
    for_each_element(type, [&](std::int64_t i, std::int64_t at) {
      static_cast<T*>(to)[at] = from_double<T>(values[static_cast<std::size_t>(i)]);
    });
  });
}

Values load(ConstTensorView from) {
  Values values(static_cast<std::size_t>(from.numel()));
  with_type(from.type.dtype, [&]<class T>() {
    for_each_element(from.type, [&](std::int64_t i, std::int64_t at) {
      values[static_cast<std::size_t>(i)] = to_double(from.as<T>()[at]);
    });
  });
  return values;
}

Values draw(Fill fill, const TensorType& type, std::int64_t classes, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  if (fill == Fill::kDistinct) return distinct(type, engine);
  Values values(static_cast<std::size_t>(type.shape.numel()));
  for (double& v : values) v = rounded(draw_one(fill, type.dtype, classes, engine), type.dtype);
  return values;
}

std::string place(const Shape& shape, std::int64_t element) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(shape.rank()));
  for (int axis = shape.rank(); axis-- > 0;) {
    indices[static_cast<std::size_t>(axis)] = element % shape[axis];
    element /= shape[axis];
  }
  return fmt::format("[{}]", fmt::join(indices, ", "));
}

}  // namespace phalanx::operators_test
