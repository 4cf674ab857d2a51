// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <mpi.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>

#include "comm/mpi_runtime.hpp"
#include "comm/rank_layout.hpp"
#include "comm/shared_window.hpp"
#include "comm/transport.hpp"
#include "core/error.hpp"
#include "core/log.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kMessageBytes = std::size_t{64} << 20;  // most bytes of one message
constexpr std::size_t kWholeBytes =
    std::size_t{16} << 10;  // up to this size everybody sends everything to everybody
constexpr std::size_t kSegmentBytes =
    std::size_t{2} << 20;          // a large all_reduce is cut into segments of this size
constexpr int kYields = 2000;      // looks at a pending message before the first sleep
constexpr long kSleepNs = 20'000;  // between later looks

void check(int code, const Call& call) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw CommError(fmt::format("rank {} on {}: MPI failed in {} #{} {}: {}", call.caller.rank,
                              call.caller.host, call.operation, call.number, call.label,
                              text.data()));
}

// Messages in flight between this rank and others.
class Messages {
 public:
  Messages(MPI_Comm comm, const Call& call, const std::vector<std::string>& names)
      : comm_(comm), call_(call), names_(names) {}
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;
  // Only after a failure is anything left. The memory of receives must not be written to any more.
  ~Messages() {
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      if (pending_[i] == MPI_REQUEST_NULL) continue;
      if (receiving_[i]) MPI_Cancel(&pending_[i]);
      MPI_Request_free(&pending_[i]);
    }
  }

  void send(std::span<const std::byte> data, int to) {
    check(MPI_Isend(data.data(), static_cast<int>(data.size()), MPI_BYTE, to, 0, comm_,
                    &add(to, false)),
          call_);
  }
  void receive(std::span<std::byte> data, int from) {
    check(MPI_Irecv(data.data(), static_cast<int>(data.size()), MPI_BYTE, from, 0, comm_,
                    &add(from, true)),
          call_);
  }

  void wait() {
    int done = 0;
    for (int look = 0;; ++look) {
      check(MPI_Testall(static_cast<int>(pending_.size()), pending_.data(), &done,
                        MPI_STATUSES_IGNORE),
            call_);
      if (done) break;
      if (call_.cancelled() || call_.late()) call_.fail(missing());
      if (look < kYields) {
        sched_yield();
      } else {
        const timespec pause{0, kSleepNs};
        nanosleep(&pause, nullptr);
      }
    }
    pending_.clear();
    peers_.clear();
    receiving_.clear();
  }

 private:
  MPI_Request& add(int peer, bool receiving) {
    peers_.push_back(peer);
    receiving_.push_back(receiving);
    return pending_.emplace_back(MPI_REQUEST_NULL);
  }

  std::string missing() {
    std::string text;
    for (std::size_t i = 0; i < pending_.size(); ++i) {
      int done = 0;
      MPI_Request_get_status(pending_[i], &done, MPI_STATUS_IGNORE);
      const std::string& peer = names_[static_cast<std::size_t>(peers_[i])];
      if (!done && text.find(peer) == std::string::npos) text += (text.empty() ? "" : ", ") + peer;
    }
    return text;
  }

  MPI_Comm comm_;
  const Call& call_;
  const std::vector<std::string>& names_;
  std::vector<MPI_Request> pending_;
  std::vector<int> peers_;
  std::vector<bool> receiving_;
};

std::span<std::byte> bytes_of(TensorView v) { return {v.as<std::byte>(), v.type.size_bytes()}; }

TensorView slice(TensorView data, Range range) {
  const std::size_t offset = static_cast<std::size_t>(range.begin) * size_bytes(data.type.dtype);
  return {data.as<std::byte>() + offset, {data.type.dtype, {range.size()}}};
}

// Collectives by messages, between any ranks. Reductions sum in the order of ranks.
class MessageGroup {
 public:
  MessageGroup(MPI_Comm comm, std::vector<std::string> names)
      : comm_(comm), names_(std::move(names)) {
    MPI_Comm_rank(comm, &rank_);
    MPI_Comm_size(comm, &size_);
  }

  void all_reduce(const Call& call, TensorView data, ReduceOp op);
  void broadcast(const Call& call, std::span<std::byte> data, int root);
  void all_gather(const Call& call, std::span<const std::byte> mine, std::byte* all);
  void reduce_scatter(const Call& call, TensorView data, ReduceOp op);
  void all_gather_parts(const Call& call, TensorView data);
  void barrier(const Call& call);

 private:
  // Calls f(peer) for every other rank, the next one first, so that not all begin with the same.
  template <class F>
  void for_peers(F f) const {
    for (int i = 1; i < size_; ++i) f((rank_ + i) % size_);
  }
  template <class F>
  void for_pieces(TensorView data, std::size_t most_bytes, F f) const;
  // Space for `count` elements from every other rank.
  std::span<std::byte> received(int peer, std::size_t bytes);
  void combine_received(TensorView mine, ReduceOp op);
  void reduce_whole(const Call& call, TensorView data, ReduceOp op);
  void reduce_by_parts(const Call& call, TensorView data, ReduceOp op);

  MPI_Comm comm_;
  std::vector<std::string> names_;
  int rank_ = 0;
  int size_ = 1;
  std::vector<std::byte> received_;
};

std::span<std::byte> MessageGroup::received(int peer, std::size_t bytes) {
  received_.resize(std::max(received_.size(), bytes * static_cast<std::size_t>(size_)));
  return {received_.data() + static_cast<std::size_t>(peer) * bytes, bytes};
}

void MessageGroup::combine_received(TensorView mine, ReduceOp op) {
  std::vector<const void*> inputs;
  for (int r = 0; r < size_; ++r) {
    inputs.push_back(r == rank_ ? mine.data : received(r, mine.type.size_bytes()).data());
  }
  combine(op, mine.type.dtype, inputs, mine.data, mine.numel());
}

void MessageGroup::all_reduce(const Call& call, TensorView data, ReduceOp op) {
  if (size_ == 1) return;
  if (data.type.size_bytes() <= kWholeBytes) return reduce_whole(call, data, op);
  const auto most = static_cast<std::int64_t>(kSegmentBytes / size_bytes(data.type.dtype));
  for (std::int64_t begin = 0; begin < data.numel(); begin += most) {
    reduce_by_parts(call, slice(data, {begin, std::min(begin + most, data.numel())}), op);
  }
}

void MessageGroup::reduce_whole(const Call& call, TensorView data, ReduceOp op) {
  if (data.numel() == 0) return;
  received(0, data.type.size_bytes());
  Messages messages(comm_, call, names_);
  for_peers([&](int peer) { messages.receive(received(peer, data.type.size_bytes()), peer); });
  for_peers([&](int peer) { messages.send(bytes_of(data), peer); });
  messages.wait();
  combine_received(data, op);
}

void MessageGroup::reduce_by_parts(const Call& call, TensorView data, ReduceOp op) {
  const auto part = [&](int r) { return slice(data, share_of(data.numel(), r, size_)); };
  const TensorView mine = part(rank_);
  received(0, mine.type.size_bytes());
  Messages messages(comm_, call, names_);
  for_peers([&](int peer) { messages.receive(received(peer, mine.type.size_bytes()), peer); });
  for_peers([&](int peer) { messages.send(bytes_of(part(peer)), peer); });
  messages.wait();
  combine_received(mine, op);
  for_peers([&](int peer) { messages.receive(bytes_of(part(peer)), peer); });
  for_peers([&](int peer) { messages.send(bytes_of(mine), peer); });
  messages.wait();
}

// A binomial tree: in the order of distance from the root, rank r hears from r minus its highest
// bit.
void MessageGroup::broadcast(const Call& call, std::span<std::byte> data, int root) {
  const int distance = (rank_ - root + size_) % size_;
  for (std::size_t begin = 0; begin < data.size(); begin += kMessageBytes) {
    const std::span chunk = data.subspan(begin, std::min(kMessageBytes, data.size() - begin));
    Messages messages(comm_, call, names_);
    int step = 1;
    while (step <= distance) step *= 2;
    if (distance > 0) {
      messages.receive(chunk, (distance - step / 2 + root) % size_);
      messages.wait();
    }
    for (; distance + step < size_; step *= 2)
      messages.send(chunk, (distance + step + root) % size_);
    messages.wait();
  }
}

void MessageGroup::all_gather(const Call& call, std::span<const std::byte> mine, std::byte* all) {
  const auto place = [&](int r) { return all + static_cast<std::size_t>(r) * mine.size(); };
  std::ranges::copy(mine, place(rank_));
  for (std::size_t begin = 0; begin < mine.size(); begin += kMessageBytes) {
    const std::size_t bytes = std::min(kMessageBytes, mine.size() - begin);
    Messages messages(comm_, call, names_);
    for_peers([&](int peer) { messages.receive({place(peer) + begin, bytes}, peer); });
    for_peers([&](int peer) { messages.send(mine.subspan(begin, bytes), peer); });
    messages.wait();
  }
}

// Calls f(piece_of) for as many pieces as the longest part has; piece_of(r) is that piece of rank r's part, if need be empty.
template <class F>
void MessageGroup::for_pieces(TensorView data, std::size_t most_bytes, F f) const {
  const auto most = static_cast<std::int64_t>(most_bytes / size_bytes(data.type.dtype));
  const std::int64_t longest = part_of(data.numel(), 0, size_).size();
  for (std::int64_t begin = 0; begin < longest; begin += most) {
    f([&](int r) {
      const Range part = part_of(data.numel(), r, size_);
      return slice(data, {std::min(part.begin + begin, part.end),
                          std::min(part.begin + begin + most, part.end)});
    });
  }
}

void MessageGroup::reduce_scatter(const Call& call, TensorView data, ReduceOp op) {
  for_pieces(data, kSegmentBytes, [&](const auto& piece_of) {
    const TensorView mine = piece_of(rank_);
    received(0, mine.type.size_bytes());
    Messages messages(comm_, call, names_);
    for_peers([&](int peer) { messages.receive(received(peer, mine.type.size_bytes()), peer); });
    for_peers([&](int peer) { messages.send(bytes_of(piece_of(peer)), peer); });
    messages.wait();
    combine_received(mine, op);
  });
}

void MessageGroup::all_gather_parts(const Call& call, TensorView data) {
  for_pieces(data, kMessageBytes, [&](const auto& piece_of) {
    Messages messages(comm_, call, names_);
    for_peers([&](int peer) { messages.receive(bytes_of(piece_of(peer)), peer); });
    for_peers([&](int peer) { messages.send(bytes_of(piece_of(rank_)), peer); });
    messages.wait();
  });
}

void MessageGroup::barrier(const Call& call) {
  Messages messages(comm_, call, names_);
  for_peers([&](int peer) { messages.receive({}, peer); });
  for_peers([&](int peer) { messages.send({}, peer); });
  messages.wait();
}

// Memory that all ranks of a node see.
struct NodeMemory {
  MPI_Win window = MPI_WIN_NULL;
  std::vector<std::byte*> bases;  // of every rank's part
};

// Collective over the node; `size_bytes` of each rank's own part may differ.
NodeMemory allocate_on_node(MPI_Comm node, std::size_t size_bytes) {
  NodeMemory memory;
  MPI_Info info;
  MPI_Info_create(&info);
  MPI_Info_set(info, "alloc_shared_noncontig",
               "true");  // each part begins on a page, near its rank
  void* start = nullptr;
  const int code = MPI_Win_allocate_shared(static_cast<MPI_Aint>(size_bytes), 1, info, node, &start,
                                           &memory.window);
  MPI_Info_free(&info);
  require<CommError>(code == MPI_SUCCESS,
                     fmt::format("cannot share {} bytes of memory on this node", size_bytes));
  int ranks = 1;
  MPI_Comm_size(node, &ranks);
  for (int r = 0; r < ranks; ++r) {
    MPI_Aint found = 0;
    int unit = 1;
    MPI_Win_shared_query(memory.window, r, &found, &unit, &start);
    memory.bases.push_back(static_cast<std::byte*>(start));
  }
  return memory;
}

// Bytes that may still be shared: Open MPI keeps them in a file there. It would not notice that they are too many until
// one is touched. Unknown counts as none.
std::size_t bytes_left_to_share() {
  struct statvfs space {};
  return statvfs("/dev/shm", &space) == 0 ? space.f_bavail * space.f_frsize : 0;
}

// Ranks of one node share a window. Between nodes there are messages: if all nodes hold equally
// many ranks, rank i of each node exchanges its part with ranks i of the others, else every rank
// exchanges with every other.
class MpiTransport final : public Transport {
 public:
  MpiTransport(MpiRuntime& mpi, int most_ranks_per_node, bool tree_over_ranks);
  ~MpiTransport() override;

  int rank() const noexcept override { return layout_.rank; }
  int size() const noexcept override { return layout_.size; }
  std::string host() const override { return layout_.host; }

  void all_reduce(const Call& call, TensorView data, ReduceOp op) override;
  void broadcast(const Call& call, std::span<std::byte> data, int root) override;
  void all_gather(const Call& call, std::span<const std::byte> mine, std::byte* all) override;
  void reduce_scatter(const Call& call, TensorView data, ReduceOp op) override;
  void all_gather_parts(const Call& call, TensorView data) override;
  std::byte* allocate(const Call& call, std::size_t size_bytes) override;
  void barrier(const Call& call) override;

  void give_up() noexcept override { given_up_ = true; }
  void abort() noexcept override { mpi_.abort(static_cast<int>(ExitCode::kPeerLost)); }
  void* native_mpi() noexcept override { return &world_; }

 private:
  std::vector<std::string> names_in(MPI_Comm comm) const;
  bool node_is_subtree(int members) const;
  void open_window();
  // Whether the ranks of this call all share the window. Tells the neighbours about the call in any
  // case.
  bool in_window(const Call& call);

  MpiRuntime& mpi_;
  RankLayout layout_;
  MPI_Comm world_ = MPI_COMM_NULL;
  MPI_Comm node_ = MPI_COMM_NULL;
  MPI_Comm column_ = MPI_COMM_NULL;  // the ranks of all nodes with the same place in their node
  std::vector<NodeMemory> memory_;   // of the window, and of allocate()
  std::optional<MessageGroup> everybody_, across_;
  std::optional<SharedWindow> window_;
  bool one_node_ = false;
  bool given_up_ = false;
  int exceptions_ = std::uncaught_exceptions();
};

MpiTransport::MpiTransport(MpiRuntime& mpi, int most_ranks_per_node, bool tree_over_ranks)
    : mpi_(mpi), layout_(make_rank_layout(mpi)) {
  MPI_Comm_dup(MPI_COMM_WORLD, &world_);
  MPI_Comm_set_errhandler(world_, MPI_ERRORS_RETURN);
  everybody_.emplace(world_, names_in(world_));
  const int group = most_ranks_per_node > 0 ? layout_.local_rank / most_ranks_per_node : 0;
  MPI_Comm_split(world_, layout_.node * layout_.size + group, layout_.rank, &node_);
  int place = 0;
  int members = 1;
  MPI_Comm_rank(node_, &place);
  MPI_Comm_size(node_, &members);
  // The least of each over all ranks: members, minus the members, whether a node is a subtree.
  std::array<int, 3> range{members, -members, node_is_subtree(members) ? 1 : 0};
  MPI_Allreduce(MPI_IN_PLACE, range.data(), 3, MPI_INT, MPI_MIN, world_);
  one_node_ = members == layout_.size;
  const bool equal_nodes = range[0] == -range[1];
  if (members == 1 || !equal_nodes) return;
  if (tree_over_ranks && !one_node_ && range[2] == 0) return;
  open_window();
  MPI_Comm_split(world_, place, layout_.rank, &column_);
  across_.emplace(column_, names_in(column_));
}

MpiTransport::~MpiTransport() {
  // Freeing is collective, and after a failure the others may not be there.
  if (given_up_ || std::uncaught_exceptions() > exceptions_) return;
  for (NodeMemory& memory : memory_) MPI_Win_free(&memory.window);
  for (MPI_Comm* comm : {&column_, &node_, &world_}) {
    if (*comm != MPI_COMM_NULL) MPI_Comm_free(comm);
  }
}

// Whether the ranks of this node, summed by themselves, are a part of the tree over all ranks.
bool MpiTransport::node_is_subtree(int members) const {
  std::array<int, 2> ends{layout_.rank, -layout_.rank};  // first, and minus the last
  MPI_Allreduce(MPI_IN_PLACE, ends.data(), 2, MPI_INT, MPI_MIN, node_);
  const int first = ends[0], last = -ends[1];
  return std::has_single_bit(static_cast<unsigned>(members)) && last - first + 1 == members &&
         first % members == 0;
}

std::vector<std::string> MpiTransport::names_in(MPI_Comm comm) const {
  int size = 1;
  MPI_Comm_size(comm, &size);
  std::vector<int> ranks(static_cast<std::size_t>(size));
  MPI_Allgather(&layout_.rank, 1, MPI_INT, ranks.data(), 1, MPI_INT, comm);
  std::vector<std::string> names;
  for (const int r : ranks)
    names.push_back(fmt::format("rank {} on {}", r, layout_.hosts[static_cast<std::size_t>(r)]));
  return names;
}

void MpiTransport::open_window() {
  const std::vector<std::string> names = names_in(node_);
  int place = 0;
  MPI_Comm_rank(node_, &place);
  const std::size_t bytes = SharedWindow::size_bytes(static_cast<int>(names.size())) + 64;
  memory_.push_back(allocate_on_node(node_, place == 0 ? bytes : 0));
  void* start = memory_.back().bases.front();
  if (place == 0) std::memset(start, 0, bytes);
  MPI_Barrier(node_);
  std::size_t space = bytes;
  window_.emplace(std::align(64, bytes - 64, start, space), place, names);
}

bool MpiTransport::in_window(const Call& call) {
  if (window_) window_->publish(call);
  return window_ && one_node_;
}

void MpiTransport::all_reduce(const Call& call, TensorView data, ReduceOp op) {
  if (in_window(call)) return window_->all_reduce(call, data, op);
  if (!window_) return everybody_->all_reduce(call, data, op);
  window_->all_reduce(call, data, op,
                      [&](TensorView part) { across_->all_reduce(call, part, op); });
}

void MpiTransport::broadcast(const Call& call, std::span<std::byte> data, int root) {
  in_window(call) ? window_->broadcast(call, data, root) : everybody_->broadcast(call, data, root);
}

void MpiTransport::all_gather(const Call& call, std::span<const std::byte> mine, std::byte* all) {
  in_window(call) ? window_->all_gather(call, mine, all) : everybody_->all_gather(call, mine, all);
}

// Over several nodes, what all_reduce sends is no more than what ranks would send each other directly, and the bits are
// the same.
void MpiTransport::reduce_scatter(const Call& call, TensorView data, ReduceOp op) {
  if (in_window(call)) return window_->reduce_scatter(call, data, op);
  window_ ? all_reduce(call, data, op) : everybody_->reduce_scatter(call, data, op);
}

void MpiTransport::all_gather_parts(const Call& call, TensorView data) {
  in_window(call) ? window_->all_gather_parts(call, data)
                  : everybody_->all_gather_parts(call, data);
}

std::byte* MpiTransport::allocate(const Call& call, std::size_t size_bytes) {
  if (!window_) return nullptr;
  int place = 0, ranks = 1;
  MPI_Comm_rank(node_, &place);
  MPI_Comm_size(node_, &ranks);
  const std::size_t needed = size_bytes * static_cast<std::size_t>(ranks);
  std::int32_t fits = needed < bytes_left_to_share() ? 1 : 0;
  everybody_->all_reduce(call, {&fits, {DType::kI32, {1}}}, ReduceOp::kMin);
  if (fits == 0) {
    if (place == 0)
      log_warning("/dev/shm has too little space for {} MiB: gradients are copied to be summed",
                  needed >> 20);
    return nullptr;
  }
  memory_.push_back(allocate_on_node(node_, size_bytes));
  window_->add_arena(memory_.back().bases, size_bytes);
  return memory_.back().bases[static_cast<std::size_t>(place)];
}

void MpiTransport::barrier(const Call& call) {
  in_window(call) ? window_->barrier(call) : everybody_->barrier(call);
}

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(MpiRuntime& mpi, Progress progress,
                                                    double deadline_seconds,
                                                    int most_ranks_per_node, bool tree_over_ranks) {
  require<Unsupported>(progress == Progress::kInline || mpi.serves_threads(),
                       "this MPI serves one thread only: use progress 'inline'");
  std::unique_ptr<Transport> transport;
  {
    const StartWatch::Stage stage(mpi.start_watch(), "the communicator");
    transport = std::make_unique<MpiTransport>(mpi, most_ranks_per_node, tree_over_ranks);
    MPI_Barrier(MPI_COMM_WORLD);
  }
  mpi.start_watch().forget();  // all are here; the communicator's own deadline names who leaves
  return make_host_communicator(std::move(transport), progress, deadline_seconds);
}

}  // namespace phalanx
