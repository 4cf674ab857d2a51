// SPDX-License-Identifier: Apache-2.0
#include "formats/h5.hpp"

#include <fmt/format.h>

#include <hdf5.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/log.hpp"
#include "formats/h5_error.hpp"

namespace phalanx::h5 {
namespace {

static_assert(sizeof(hid_t) == sizeof(std::int64_t), "HDF5 1.10 or newer");

hid_t file_type(DType dtype) {
  switch (dtype) {
    case DType::kU8: return H5T_STD_U8LE;
    case DType::kI32: return H5T_STD_I32LE;
    case DType::kI64: return H5T_STD_I64LE;
    case DType::kF32: return H5T_IEEE_F32LE;
    case DType::kBf16: break;
  }
  throw Unsupported(fmt::format("HDF5 files hold u8, i32, i64 and f32, not {}", name(dtype)));
}

hid_t memory_type(DType dtype) {
  switch (dtype) {
    case DType::kU8: return H5T_NATIVE_UINT8;
    case DType::kI32: return H5T_NATIVE_INT32;
    case DType::kI64: return H5T_NATIVE_INT64;
    default: return H5T_NATIVE_FLOAT;
  }
}

// False if the stored type is none of ours.
bool dtype_from_file(hid_t type, DType& dtype) {
  const H5T_class_t kind = H5Tget_class(type);
  const std::size_t size = H5Tget_size(type);
  if (kind == H5T_FLOAT && size == 4) {
    dtype = DType::kF32;
  } else if (kind == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_NONE && size == 1) {
    dtype = DType::kU8;
  } else if (kind == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_2 && (size == 4 || size == 8)) {
    dtype = size == 4 ? DType::kI32 : DType::kI64;
  } else {
    return false;
  }
  return true;
}

Handle access_list(void* mpi_comm) {
  Handle list(H5Pcreate(H5P_FILE_ACCESS));
  // From 1.8 on: attributes may exceed 64 KiB, object headers hold no times, and newer libraries
  // write the same bytes.
  bool ok = list && H5Pset_libver_bounds(list.id(), H5F_LIBVER_V18, H5F_LIBVER_LATEST) >= 0 &&
            H5Pset_fclose_degree(list.id(), H5F_CLOSE_STRONG) >= 0 &&
            H5Pset_sieve_buf_size(list.id(), 0) >= 0;
  if (mpi_comm != nullptr) {
    ok = ok && H5Pset_fapl_mpio(list.id(), *static_cast<MPI_Comm*>(mpi_comm), MPI_INFO_NULL) >= 0 &&
         H5Pset_all_coll_metadata_ops(list.id(), true) >= 0 &&
         H5Pset_coll_metadata_write(list.id(), true) >= 0;
  }
  if (!ok) throw Error("HDF5 cannot prepare file access");
  return list;
}

// Callers move whole blocks or cache them themselves; HDF5's own cache would only copy once more,
// and put off the failure of a write until the array is closed.
Handle dataset_access_list() {
  Handle list(H5Pcreate(H5P_DATASET_ACCESS));
  if (!list || H5Pset_chunk_cache(list.id(), 1, 0, 0.0) < 0)
    throw Error("HDF5 cannot prepare array access");
  return list;
}

// After a write has failed, HDF5 cannot close the file: that would write again, fail again, and
// leave a file behind on which the library's own clean-up at the end of the process crashes. So
// what it still wants to write goes to memory.
void divert_writes(hid_t object) {
  const hid_t file = H5Iget_file_id(object);
  const Handle list(H5Fget_access_plist(file));
  void* descriptor = nullptr;
  const bool plain =
      H5Pget_driver(list.id()) == H5FD_SEC2 && H5Fget_vfd_handle(file, list.id(), &descriptor) >= 0;
  H5Fclose(file);  // gives back this reference only
  const int sink = plain ? ::memfd_create("discarded", MFD_CLOEXEC) : -1;
  if (sink < 0) return;
  ::dup2(sink, *static_cast<int*>(descriptor));
  ::close(sink);
}

bool close_file(hid_t file) {
  const bool written = H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0;
  if (!written) divert_writes(file);
  return H5Fclose(file) >= 0 && written;
}

Handle timeless_list(hid_t kind) {
  Handle list(H5Pcreate(kind));
  if (!list || H5Pset_obj_track_times(list.id(), false) < 0)
    throw Error("HDF5 cannot prepare object creation");
  return list;
}

std::string join(const std::string& folder, const std::string& path) {
  if (!path.empty() && path.front() == '/') return path;
  return folder == "/" ? folder + path : folder + "/" + path;
}

}  // namespace

Handle::Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    close();
    id_ = std::exchange(other.id_, -1);
  }
  return *this;
}

Handle::~Handle() {
  if (!close()) log_error("HDF5 could not close an object; what was written last may be missing");
}

bool Handle::close() noexcept {
  if (id_ < 0) return true;
  Lock lock;
  const hid_t id = std::exchange(id_, -1);
  switch (H5Iget_type(id)) {
    case H5I_FILE: return close_file(id);
    case H5I_GROUP: return H5Gclose(id) >= 0;
    case H5I_DATASET: return H5Dclose(id) >= 0;
    case H5I_DATASPACE: return H5Sclose(id) >= 0;
    case H5I_DATATYPE: return H5Tclose(id) >= 0;
    case H5I_ATTR: return H5Aclose(id) >= 0;
    case H5I_GENPROP_LST: return H5Pclose(id) >= 0;
    default: return true;  // its file was closed before it, which closed it too
  }
}

// ---- groups and files

std::string Group::absolute(const std::string& path) const { return join(path_, path); }

bool Group::exists(const std::string& path) const {
  Lock lock;
  std::string partial;  // H5Lexists fails, instead of saying no, if an earlier step is missing
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    if (end > begin) {
      partial += (partial.empty() ? "" : "/") + path.substr(begin, end - begin);
      if (H5Lexists(handle_.id(), partial.c_str(), H5P_DEFAULT) <= 0) return false;
    }
    begin = end + 1;
  }
  return true;
}

std::vector<std::string> Group::names() const {
  Lock lock;
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* member, const H5L_info_t*, void* list) -> herr_t {
    static_cast<std::vector<std::string>*>(list)->emplace_back(member);
    return 0;
  };
  if (H5Literate(handle_.id(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names) < 0)
    fail(file_name(), path_, "list the members of the group", false);
  return names;
}

Group Group::create_group(const std::string& path) {
  Lock lock;
  const Handle list = timeless_list(H5P_GROUP_CREATE);
  Handle group(H5Gcreate2(handle_.id(), path.c_str(), H5P_DEFAULT, list.id(), H5P_DEFAULT));
  if (!group) fail(file_name(), absolute(path), "create the group", true);
  return Group(context_, absolute(path), std::move(group));
}

Group Group::open_group(const std::string& path) const {
  Lock lock;
  if (!exists(path))
    throw InvalidInput(fmt::format("{}: there is no group {}", file_name(), absolute(path)));
  Handle group(H5Gopen2(handle_.id(), path.c_str(), H5P_DEFAULT));
  if (!group) fail(file_name(), absolute(path), "open the group", false);
  return Group(context_, absolute(path), std::move(group));
}

Dataset Group::create_dataset(const std::string& path, DType dtype, const Shape& shape,
                              const DatasetOptions& options) {
  Lock lock;
  const int rank = shape.rank();
  const bool chunked = options.chunk_rows > 0;
  if ((options.extendible || options.deflate > 0) && (!chunked || rank == 0))
    throw InvalidArgument(fmt::format(
        "{}: only an array in blocks of rows can grow or be compressed", absolute(path)));
  std::array<hsize_t, Shape::kMaxRank> size{}, most{}, block{};
  for (int axis = 0; axis < rank; ++axis)
    size[axis] = most[axis] = block[axis] = static_cast<hsize_t>(shape[axis]);
  if (options.extendible) most[0] = H5S_UNLIMITED;
  block[0] = static_cast<hsize_t>(options.chunk_rows);

  const Handle space(rank == 0 ? H5Screate(H5S_SCALAR)
                               : H5Screate_simple(rank, size.data(), most.data()));
  const Handle list = timeless_list(H5P_DATASET_CREATE);
  const Handle access = dataset_access_list();
  bool ok = static_cast<bool>(space);
  if (chunked) {
    ok = ok && H5Pset_chunk(list.id(), rank, block.data()) >= 0;
    if (options.deflate > 0)
      ok = ok && H5Pset_deflate(list.id(), static_cast<unsigned>(options.deflate)) >= 0;
  } else {
    // Space is taken now, and not filled: a full disk shows here, and no byte is written twice.
    ok = ok && H5Pset_alloc_time(list.id(), H5D_ALLOC_TIME_EARLY) >= 0 &&
         H5Pset_fill_time(list.id(), H5D_FILL_TIME_NEVER) >= 0;
  }
  if (!ok) fail(file_name(), absolute(path), "describe the array", true);
  Handle dataset(H5Dcreate2(handle_.id(), path.c_str(), file_type(dtype), space.id(), H5P_DEFAULT,
                            list.id(), access.id()));
  if (!dataset) fail(file_name(), absolute(path), "create the array", true);
  return Dataset(context_, absolute(path), std::move(dataset));
}

Dataset Group::open_dataset(const std::string& path) const {
  Lock lock;
  if (!exists(path))
    throw InvalidInput(fmt::format("{}: there is no array {}", file_name(), absolute(path)));
  const Handle list = dataset_access_list();
  Handle dataset(H5Dopen2(handle_.id(), path.c_str(), list.id()));
  if (!dataset) fail(file_name(), absolute(path), "open the array", false);
  return Dataset(context_, absolute(path), std::move(dataset));
}

File File::open_as(const std::string& path, bool writable, void* mpi_comm) {
  Lock lock;
  if (::access(path.c_str(), writable ? R_OK | W_OK : R_OK) != 0)
    throw IoError(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  const Handle list = access_list(mpi_comm);
  Handle file(H5Fopen(path.c_str(), writable ? H5F_ACC_RDWR : H5F_ACC_RDONLY, list.id()));
  if (!file) fail(path, "", "open as an HDF5 file", false);
  return File(Group(std::make_shared<const FileContext>(FileContext{path, mpi_comm != nullptr}),
                    "/", std::move(file)));
}

File File::create(const std::string& path, void* mpi_comm, std::size_t user_block_bytes) {
  Lock lock;
  const Handle list = access_list(mpi_comm);
  const Handle creation = timeless_list(H5P_FILE_CREATE);
  if (user_block_bytes > 0) H5Pset_userblock(creation.id(), user_block_bytes);
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), list.id()));
  if (!file) fail(path, "", "create the file", true);
  return File(Group(std::make_shared<const FileContext>(FileContext{path, mpi_comm != nullptr}),
                    "/", std::move(file)));
}

void File::close() {
  Lock lock;
  if (handle_ && H5Fflush(handle_.id(), H5F_SCOPE_GLOBAL) < 0) {
    const std::string reason = take_reason();
    divert_writes(handle_.id());
    handle_.close();
    fail(file_name(), "", "write the file", true, reason);
  }
  if (!handle_.close()) fail(file_name(), "", "close the file", true);
}

// ---- arrays

Dataset::Dataset(std::shared_ptr<const FileContext> context, std::string path, Handle handle)
    : Object(std::move(context), std::move(path), std::move(handle)) {
  const auto bad = [this](const std::string& what) {
    return InvalidInput(fmt::format("{}: {}: {}", file_name(), path_, what));
  };
  const Handle type(H5Dget_type(handle_.id()));
  if (!type || !dtype_from_file(type.id(), dtype_))
    throw bad("expected elements of type u8, i32, i64 or f32");
  const Handle space(H5Dget_space(handle_.id()));
  const int rank = space ? H5Sget_simple_extent_ndims(space.id()) : -1;
  if (rank < 0 || rank > Shape::kMaxRank)
    throw bad(fmt::format("expected 0 to {} axes, found {}", Shape::kMaxRank, rank));
  std::array<hsize_t, Shape::kMaxRank> size{};
  H5Sget_simple_extent_dims(space.id(), size.data(), nullptr);
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  std::copy_n(size.begin(), rank, sizes.begin());
  try {
    shape_ = Shape(std::span<const std::int64_t>(sizes.data(), static_cast<std::size_t>(rank)));
    std::int64_t bytes = static_cast<std::int64_t>(size_bytes(dtype_));
    bool overflow = false;
    for (int axis = 1; axis < rank; ++axis)
      overflow |= __builtin_mul_overflow(bytes, shape_[axis], &bytes);
    std::int64_t total = 0;
    if (overflow || __builtin_mul_overflow(bytes, rows(), &total))
      throw InvalidArgument("more bytes than 64 bits can count");
    row_bytes_ = static_cast<std::size_t>(bytes);
  } catch (const InvalidArgument& error) {
    throw bad(fmt::format("impossible size: {}", error.what()));
  }
  const Handle list(H5Dget_create_plist(handle_.id()));
  std::array<hsize_t, Shape::kMaxRank> block{};
  if (list && rank > 0 && H5Pget_layout(list.id()) == H5D_CHUNKED &&
      H5Pget_chunk(list.id(), Shape::kMaxRank, block.data()) > 0)
    chunk_rows_ = static_cast<std::int64_t>(block[0]);
  compressed_ = list && H5Pget_nfilters(list.id()) > 0;
}

void Dataset::expect_dtype(DType expected) const {
  if (dtype_ != expected)
    throw InvalidInput(fmt::format("{}: {}: expected elements of type {}, found {}", file_name(),
                                   path_, name(expected), name(dtype_)));
}

void Dataset::select_rows(std::int64_t begin, std::int64_t end, Handle& file_space,
                          Handle& memory_space) const {
  if (begin < 0 || end < begin || end > rows())
    throw InvalidArgument(
        fmt::format("{}: {}: rows [{}, {}) of {}", file_name(), path_, begin, end, rows()));
  file_space = Handle(H5Dget_space(handle_.id()));
  if (shape_.rank() == 0) {
    memory_space = Handle(H5Screate(H5S_SCALAR));
    return;
  }
  std::array<hsize_t, Shape::kMaxRank> start{}, count{};
  for (int axis = 0; axis < shape_.rank(); ++axis) count[axis] = static_cast<hsize_t>(shape_[axis]);
  start[0] = static_cast<hsize_t>(begin);
  count[0] = static_cast<hsize_t>(end - begin);
  memory_space = Handle(H5Screate_simple(shape_.rank(), count.data(), nullptr));
  if (begin == end || row_bytes_ == 0) {  // a collective call needs this rank too
    H5Sselect_none(file_space.id());
    H5Sselect_none(memory_space.id());
  } else {
    H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr, count.data(),
                        nullptr);
  }
}

namespace {

Handle transfer_list(Transfer transfer, bool parallel) {
  Handle list(H5Pcreate(H5P_DATASET_XFER));
  if (parallel && transfer == Transfer::kCollective)
    H5Pset_dxpl_mpio(list.id(), H5FD_MPIO_COLLECTIVE);
  return list;
}

}  // namespace

void Dataset::read_rows(std::int64_t begin, std::int64_t end, void* out, Transfer transfer) const {
  Lock lock;
  Handle file_space, memory_space;
  select_rows(begin, end, file_space, memory_space);
  const Handle list = transfer_list(transfer, context_->parallel);
  if (H5Dread(handle_.id(), memory_type(dtype_), memory_space.id(), file_space.id(), list.id(),
              out) < 0)
    fail(file_name(), path_, fmt::format("read rows [{}, {})", begin, end), false);
}

void Dataset::write_rows(std::int64_t begin, std::int64_t end, const void* in, Transfer transfer) {
  Lock lock;
  Handle file_space, memory_space;
  select_rows(begin, end, file_space, memory_space);
  const Handle list = transfer_list(transfer, context_->parallel);
  if (H5Dwrite(handle_.id(), memory_type(dtype_), memory_space.id(), file_space.id(), list.id(),
               in) < 0) {
    const std::string reason = take_reason();
    divert_writes(handle_.id());
    fail(file_name(), path_, fmt::format("write rows [{}, {})", begin, end), true, reason);
  }
}

void Dataset::gather_rows(std::span<const std::int64_t> rows, void* out) const {
  Lock lock;
  auto* bytes = static_cast<std::byte*>(out);
  for (std::size_t i = 0; i < rows.size();) {
    std::size_t j = i + 1;
    while (j < rows.size() && rows[j] == rows[j - 1] + 1) ++j;
    read_rows(rows[i], rows[j - 1] + 1, bytes + i * row_bytes_);
    i = j;
  }
}

void Dataset::resize_rows(std::int64_t rows) {
  Lock lock;
  const Shape grown = shape_.with(0, rows);
  std::array<hsize_t, Shape::kMaxRank> size{};
  for (int axis = 0; axis < grown.rank(); ++axis) size[axis] = static_cast<hsize_t>(grown[axis]);
  if (H5Dset_extent(handle_.id(), size.data()) < 0)
    fail(file_name(), path_, fmt::format("resize to {} rows", rows), true);
  shape_ = grown;
}

}  // namespace phalanx::h5
