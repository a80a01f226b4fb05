// SPDX-License-Identifier: Apache-2.0
#include "cli/npy.h"

#include "core/file.h"
#include "program.h"

namespace tenon::test {
namespace {

class Npy : public CliTest {
 protected:
  /// A file of version 1.0 with that header and data.
  std::string file(const std::string& header, const std::string& data) const {
    std::string bytes("\x93NUMPY\x01\x00", 8);
    bytes += static_cast<char>(header.size() & 0xFF);
    bytes += static_cast<char>(header.size() >> 8);
    write("a.npy", bytes + header + data);
    return at("a.npy");
  }
};

TEST_F(Npy, WritesWhatNumpyWrites) {
  cli::write_npy(at("a.npy"), {2, 2}, std::vector<float>{1, 2, 3, 4});
  const std::string bytes = read_file(at("a.npy"));
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_EQ(bytes.size() % 64, 16U);  // the data begin at a multiple of 64
  EXPECT_THAT(bytes,
              ::testing::HasSubstr("{'descr': '<f4', 'fortran_order': False, 'shape': (2,2,), }"));
}

TEST_F(Npy, ReadsIdsOfEveryType) {
  cli::write_npy(at("b.npy"), {3}, std::vector<std::int32_t>{7, -8, 9});
  const cli::NpyIds ids = cli::read_npy_ids(at("b.npy"));
  EXPECT_EQ(ids.shape, (Shape{3}));
  EXPECT_THAT(ids.values, ::testing::ElementsAre(7, -8, 9));
  const std::string one("\x05\0\0\0\0\0\0\0", 8);
  EXPECT_THAT(
      cli::read_npy_ids(file("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1), }", one))
          .values,
      ::testing::ElementsAre(5));
}

TEST_F(Npy, RefusesWhatItCannotRead) {
  const std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }";
  const std::string data(8, '\0');
  EXPECT_NO_THROW(cli::read_npy_ids(file(header, data)));
  EXPECT_THROW(cli::read_npy_ids(file(header, data.substr(1))), Error);  // cut short
  for (const char* bad : {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
                          "{'descr': '<i4', 'fortran_order': True, 'shape': (2,), }",
                          "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 1, 2), }",
                          "{'descr': '<i4', 'fortran_order': False, 'shape': (), }",
                          "{'descr': '<i4', 'fortran_order': False, 'shape': 2, }",
                          "{'descr': '<i8', 'fortran_order': False, "
                          "'shape': (2147483648, 1073741824), }",  // 2^64 bytes
                          "{'fortran_order': False, 'shape': (2,), 'descr':", "", "'shape'"})
    EXPECT_THROW(cli::read_npy_ids(file(bad, data)), Error) << bad;
  write("a.npy", "no array");
  EXPECT_THROW(cli::read_npy_ids(at("a.npy")), Error);
}

}  // namespace
}  // namespace tenon::test
