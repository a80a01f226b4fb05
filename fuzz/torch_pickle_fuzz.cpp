// PyTorch files on any bytes: as a whole archive where they start like one, else as a bare pickle.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/torch_file.h"
#include "checkpoint/zip_archive.h"
#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tenon::FuzzInput input{data, size};
  return tenon::fuzz([&] {
    if (!tenon::is_zip(input.bytes())) {
      tenon::read_torch_pickle(input.bytes(), "fuzz");
      return;
    }
    for (const tenon::TorchTensor& tensor : tenon::parse_torch_file(input.bytes(), "fuzz"))
      if (tensor.storage_offset > size || tensor.storage_bytes > size - tensor.storage_offset)
        std::abort();
  });
}
