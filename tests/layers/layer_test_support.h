// Seeded numbers, matrices and the plain formulas that layers are held against, in double.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tenon/error.h"
#include "tenon/layers.h"

namespace tenon::test {

/// Row-major [rows, columns].
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(std::int64_t r, std::int64_t c)
      : rows(r), columns(c), values(static_cast<std::size_t>(r * c)) {}
  double& at(std::int64_t r, std::int64_t c) {
    return values[static_cast<std::size_t>(r * columns + c)];
  }
  double at(std::int64_t r, std::int64_t c) const {
    return values[static_cast<std::size_t>(r * columns + c)];
  }
  std::vector<float> floats() const { return {values.begin(), values.end()}; }
  layers::Array array() const { return {floats(), {rows, columns}}; }
};

/// Numbers that floats hold exactly, so that both sides compute with the same.
inline Matrix random_matrix(std::int64_t rows, std::int64_t columns, unsigned seed) {
  Matrix matrix(rows, columns);
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> draw(-1000, 1000);
  for (double& value : matrix.values) value = static_cast<float>(draw(generator) / 1024.0);
  return matrix;
}

/// x W^T + b; b may be empty.
inline Matrix affine(const Matrix& x, const Matrix& w, const Matrix& b = {}) {
  Matrix y(x.rows, w.rows);
  for (std::int64_t r = 0; r < x.rows; ++r)
    for (std::int64_t o = 0; o < w.rows; ++o) {
      double sum = b.values.empty() ? 0.0 : b.values[static_cast<std::size_t>(o)];
      for (std::int64_t i = 0; i < x.columns; ++i) sum += x.at(r, i) * w.at(o, i);
      y.at(r, o) = sum;
    }
  return y;
}

inline void expect_near(const layers::Array& got, const Matrix& expected, double tolerance) {
  ASSERT_EQ(got.shape, (std::vector<std::int64_t>{expected.rows, expected.columns}));
  for (std::size_t i = 0; i < got.data.size(); ++i)
    ASSERT_NEAR(got.data[i], expected.values[i], tolerance)
        << "row " << i / static_cast<std::size_t>(expected.columns) << ", column "
        << i % static_cast<std::size_t>(expected.columns);
}

/// Gives the layer a seeded weight and returns it. Vectors are matrices of one row.
inline Matrix give(layers::Layer& layer, const std::string& name, unsigned seed) {
  for (const auto& weight : layer.weights()) {
    if (weight.name != name) continue;
    const bool vector = weight.shape.size() == 1;
    const Matrix matrix = random_matrix(vector ? 1 : weight.shape[0],
                                        vector ? weight.shape[0] : weight.shape[1], seed);
    layer.set_weight(name, weight.shape, matrix.floats());
    return matrix;
  }
  ADD_FAILURE() << "there is no weight " << name;
  return {};
}

template <class Function>
std::string error_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace tenon::test
