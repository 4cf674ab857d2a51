// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.hpp"
#include "core/shape.hpp"

/// HDF5 files as move-only objects.
///
/// Every failure is an exception that names the file, the object in it, what was tried and HDF5's
/// innermost reason: InvalidInput if what a file holds is not as expected, IoError if the system
/// refused to read or write (disk full). HDF5's own printing is off. Debian builds HDF5 without
/// thread safety, so every call here takes one lock of the process; files may therefore be used
/// from any thread, but not faster by several. Files hold no times: equal contents, written in
/// equal order, are equal bytes.
namespace phalanx::h5 {

/// What a file or object was opened from; the words of error messages.
struct FileContext {
  std::string name;
  bool parallel = false;
};

/// Owns one HDF5 identifier. Move-only; closing twice is harmless.
class Handle {
 public:
  Handle() noexcept = default;
  explicit Handle(std::int64_t id) noexcept : id_(id) {}
  Handle(Handle&& other) noexcept;
  Handle& operator=(Handle&& other) noexcept;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle();

  std::int64_t id() const noexcept { return id_; }
  explicit operator bool() const noexcept { return id_ >= 0; }
  /// False if HDF5 could not close it (the last bytes could not be written).
  bool close() noexcept;

 private:
  std::int64_t id_ = -1;
};

/// A group or a dataset: something that carries attributes.
///
/// Attributes written by others are read too: strings of fixed and variable length, numbers of any
/// size.
class Object {
 public:
  const std::string& file_name() const noexcept { return context_->name; }
  const std::string& path() const noexcept { return path_; }  ///< inside the file, "/train/x"

  bool has_attribute(const std::string& name) const;
  void write_attribute(const std::string& name, std::string_view value);
  void write_attribute(const std::string& name, const char* value) {
    write_attribute(name, std::string_view(value));
  }
  void write_attribute(const std::string& name, std::int64_t value);
  void write_attribute(const std::string& name, int value) {
    write_attribute(name, std::int64_t{value});
  }
  void write_attribute(const std::string& name, double value);
  void write_attribute(const std::string& name, std::span<const std::int64_t> values);
  void write_attribute(const std::string& name, std::span<const double> values);
  void write_attribute(const std::string& name, std::span<const std::string> values);

  /// Throws    InvalidInput if there is no such attribute or it is of another kind.
  std::string string_attribute(const std::string& name) const;
  std::int64_t int_attribute(const std::string& name) const;
  double double_attribute(const std::string& name) const;
  std::vector<std::int64_t> ints_attribute(const std::string& name) const;
  std::vector<double> doubles_attribute(const std::string& name) const;
  std::vector<std::string> strings_attribute(const std::string& name) const;

 protected:
  Object(std::shared_ptr<const FileContext> context, std::string path, Handle handle) noexcept
      : context_(std::move(context)), path_(std::move(path)), handle_(std::move(handle)) {}

  std::shared_ptr<const FileContext> context_;
  std::string path_;
  Handle handle_;
};

/// How ranks that share a file move data: collective calls are made by every rank, an empty part
/// included.
enum class Transfer : std::uint8_t { kIndependent, kCollective };

/// An array on disk. "Rows" are indices of axis 0. Element types are converted between byte orders,
/// nothing else.
class Dataset : public Object {
 public:
  const Shape& shape() const noexcept { return shape_; }
  DType dtype() const noexcept { return dtype_; }
  std::int64_t rows() const noexcept { return shape_.rank() == 0 ? 1 : shape_[0]; }
  std::size_t row_bytes() const noexcept { return row_bytes_; }
  /// Rows of a storage block; 0 if the array is contiguous.
  std::int64_t chunk_rows() const noexcept { return chunk_rows_; }
  /// Whether blocks pass through a filter, and so can only be read whole.
  bool compressed() const noexcept { return compressed_; }

  void read(void* out) const { read_rows(0, rows(), out); }
  void write(const void* in) { write_rows(0, rows(), in); }
  /// Rows [begin, end).
  /// Throws    InvalidArgument if the rows do not exist.
  void read_rows(std::int64_t begin, std::int64_t end, void* out,
                 Transfer transfer = Transfer::kIndependent) const;
  void write_rows(std::int64_t begin, std::int64_t end, const void* in,
                  Transfer transfer = Transfer::kIndependent);
  /// Any rows, in the order given; neighbours are read together.
  void gather_rows(std::span<const std::int64_t> rows, void* out) const;
  /// Grows or shrinks axis 0 of an array that was created extendible.
  void resize_rows(std::int64_t rows);

  /// The whole array.
  /// Throws    InvalidInput if its element type is not T.
  template <class T>
  std::vector<T> read_vector() const {
    expect_dtype(dtype_of<T>);
    std::vector<T> values(static_cast<std::size_t>(shape_.numel()));
    read(values.data());
    return values;
  }
  /// Throws    InvalidInput if the element type is another one.
  void expect_dtype(DType expected) const;

 private:
  friend class Group;
  Dataset(std::shared_ptr<const FileContext> context, std::string path, Handle handle);
  void select_rows(std::int64_t begin, std::int64_t end, Handle& file_space,
                   Handle& memory_space) const;

  Shape shape_;
  DType dtype_ = DType::kF32;
  std::size_t row_bytes_ = 0;
  std::int64_t chunk_rows_ = 0;
  bool compressed_ = false;
};

struct DatasetOptions {
  std::int64_t chunk_rows =
      0;            ///< rows of a storage block; 0: contiguous, with its space taken at once
  int deflate = 0;  ///< 1 ... 9 compresses each block; needs chunk_rows
  bool extendible = false;  ///< axis 0 may grow later; needs chunk_rows
};

class Group : public Object {
 public:
  /// Paths may name several steps ("train/x"); they are relative to this group.
  bool exists(const std::string& path) const;
  std::vector<std::string> names() const;  ///< of the members, in alphabetical order
  Group create_group(const std::string& path);
  Group open_group(const std::string& path) const;
  /// Types     u8, i32, i64, f32, little-endian on disk.
  Dataset create_dataset(const std::string& path, DType dtype, const Shape& shape,
                         const DatasetOptions& options = {});
  /// Throws    InvalidInput if there is none, its type is none of ours, or its size overflows.
  Dataset open_dataset(const std::string& path) const;

 protected:
  using Object::Object;

 private:
  friend class File;
  std::string absolute(const std::string& path) const;
};

/// A file and its root group. Closing it closes every object opened from it: those may only be
/// destroyed afterwards.
class File : public Group {
 public:
  /// `mpi_comm` points to an MPI_Comm (`Communicator::native_mpi()`): its ranks open the file
  /// together, by the MPI-IO driver, and then make every call that creates, opens, resizes or
  /// writes an attribute together. Null: this rank only.
  /// Throws    IoError if the file is missing or cannot be made; InvalidInput if it is no HDF5 file, or a truncated
  ///           one.
  static File open(const std::string& path, void* mpi_comm = nullptr) {
    return open_as(path, false, mpi_comm);
  }
  /// The same, and its arrays may be written.
  static File open_writable(const std::string& path, void* mpi_comm = nullptr) {
    return open_as(path, true, mpi_comm);
  }
  /// `user_block_bytes`: room left for others at the front of the file; 0, 512, or a larger power of two.
  static File create(const std::string& path, void* mpi_comm = nullptr,
                     std::size_t user_block_bytes = 0);

  /// Writes what is pending and closes. The destructor does the same but can only log a failure.
  /// Throws    IoError naming the file and the reason.
  void close();

 private:
  static File open_as(const std::string& path, bool writable, void* mpi_comm);
  explicit File(Group&& root) noexcept : Group(std::move(root)) {}
};

}  // namespace phalanx::h5
