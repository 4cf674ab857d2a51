// SPDX-License-Identifier: Apache-2.0
// A library in the place of libnccl.so.2: its ranks are threads of this process, its GPUs emulated ones of one backend, whose
// queues it gets as streams. A collective is done when all ranks have come to it on their queues, however long that takes.
//
// Environment:
//   FAKE_NCCL_FAIL     "1 ncclAllReduce 2 3": on rank 1 the second call of that function returns 3 (one that has no
//                      communicator counts for any rank)
//   FAKE_NCCL_ASYNC    "1 2 6": once rank 1 has enqueued its second collective, its state is 6
//   FAKE_NCCL_NEVER    "1": rank 1 is never ready
//   FAKE_NCCL_VERSION  22809
//   FAKE_NCCL_LOG      rank 1 writes its calls to this path followed by ".1", a line each
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/nccl_library.hpp"
#include "emulation/polled_queue.hpp"
#include "tensor/combine.hpp"

namespace phalanx {
namespace {

using nccl::Result;

constexpr int kAsksInProgress = 3;  // before a call that is in progress is done

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

enum class Kind { kAllReduce, kReduce, kReduceScatter, kBroadcast, kAllGather };

struct Operation {
  Kind kind;
  std::size_t count;
  nccl::Type type;
  nccl::Op op;
  int root;
  friend bool operator==(const Operation&, const Operation&) = default;
};

DType dtype_of(nccl::Type type) {
  switch (type) {
    case nccl::Type::kInt8: return DType::kU8;
    case nccl::Type::kInt32: return DType::kI32;
    case nccl::Type::kInt64: return DType::kI64;
    case nccl::Type::kFloat32: return DType::kF32;
    case nccl::Type::kBfloat16: return DType::kBf16;
  }
  return DType::kU8;
}

ReduceOp reduce_op_of(nccl::Op op) {
  return op == nccl::Op::kSum   ? ReduceOp::kSum
         : op == nccl::Op::kMax ? ReduceOp::kMax
                                : ReduceOp::kMin;
}

/// One rank's part in a collective.
struct Share {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  bool has_come = false;
};

struct Meeting {
  Operation operation;
  std::vector<Share> shares;
  bool is_done = false;
  bool is_lost = false;  // a rank has left before it was done
};

}  // namespace

namespace nccl {

/// All ranks of one id.
struct Group {
  std::mutex mutex;
  int members = 0;
  bool is_mismatched = false;
  std::map<std::size_t, Meeting> meetings;
  std::vector<Comm*> comms;  // by rank; null: not there, or gone
};

struct Comm {
  std::shared_ptr<Group> group;
  int rank = 0, size = 1;
  std::map<std::string, int> calls;
  std::size_t enqueued = 0;
  std::size_t begun = 0;                           // by its queue; guarded by the group
  int asks = 0;                                    // until what is in progress is done
  std::vector<std::function<void()>> in_progress;  // what is then enqueued
  bool is_aborted = false;                         // guarded by the group
  std::atomic<bool> is_driven{false};              // by some thread, which looks at `queue`
  emulation::PolledQueue* queue = nullptr;         // of the last collective; guarded by the group
};

}  // namespace nccl

namespace {

using nccl::Comm;
using nccl::Group;

struct Registry {
  std::mutex mutex;
  std::uint64_t last_id = 0;
  std::map<std::uint64_t, std::weak_ptr<Group>> groups;
};
Registry& registry() {
  static Registry registry;
  return registry;
}

/// Of this thread.
struct Pending {
  int depth = 0;
  std::vector<std::pair<Comm*, std::function<void()>>> work;
};
Pending& pending() {
  thread_local Pending pending;
  return pending;
}

/// Notes the call; what it shall return instead of success.
Result note(Comm* comm, const std::string& function) {
  if (const std::string path = variable("FAKE_NCCL_LOG"); comm != nullptr && !path.empty())
    std::ofstream(path + "." + std::to_string(comm->rank), std::ios::app) << function << '\n';
  std::istringstream words(variable("FAKE_NCCL_FAIL"));
  int rank = 0, nth = 0, code = 0;
  std::string name;
  if (!(words >> rank >> name >> nth >> code) || name != function) return Result::kSuccess;
  if (comm == nullptr) return Result{code};
  return comm->rank == rank && ++comm->calls[function] == nth ? Result{code} : Result::kSuccess;
}

// With the group locked: everybody's data is there.
void perform(Meeting& meeting) {
  const auto& [kind, count, type, op, root] = meeting.operation;
  std::vector<Share>& shares = meeting.shares;
  const std::size_t bytes = count * size_bytes(dtype_of(type));
  const auto reduced = [&](std::size_t begin) {
    std::vector<const void*> inputs;
    for (const Share& share : shares) inputs.push_back(share.from + begin);
    std::vector<std::byte> result(bytes);
    combine(reduce_op_of(op), dtype_of(type), inputs, result.data(),
            static_cast<std::int64_t>(count));
    return result;
  };
  const auto put = [](const std::vector<std::byte>& what, std::byte* to) {
    std::memcpy(to, what.data(), what.size());
  };
  switch (kind) {
    case Kind::kAllReduce: {
      const auto sum = reduced(0);
      for (const Share& share : shares) put(sum, share.to);
      break;
    }
    case Kind::kReduce: put(reduced(0), shares[static_cast<std::size_t>(root)].to); break;
    case Kind::kReduceScatter: {
      std::vector<std::vector<std::byte>> sums;
      for (std::size_t r = 0; r < shares.size(); ++r) sums.push_back(reduced(r * bytes));
      for (std::size_t r = 0; r < shares.size(); ++r) put(sums[r], shares[r].to);
      break;
    }
    case Kind::kBroadcast:
      for (const Share& share : shares)
        std::memmove(share.to, shares[static_cast<std::size_t>(root)].from, bytes);
      break;
    case Kind::kAllGather:
      for (const Share& share : shares)
        for (std::size_t r = 0; r < shares.size(); ++r)
          if (share.to + r * bytes != shares[r].from)
            std::memcpy(share.to + r * bytes, shares[r].from, bytes);
      break;
  }
}

/// A GPU works by itself, an emulated one only while somebody waits for it: whoever waits here lets the others' work too.
void drive(Group& group, Comm* peer) {
  emulation::PolledQueue* queue = nullptr;
  {
    const std::lock_guard lock(group.mutex);
    if (std::ranges::find(group.comms, peer) == group.comms.end() || peer->is_aborted) return;
    queue = peer->queue;
    if (queue == nullptr || peer->is_driven.exchange(true)) return;
  }
  queue->advance();
  peer->is_driven = false;
}

/// One rank's part in a collective, as its queue comes to it. A captured one is another collective at each launch.
struct Call {
  std::shared_ptr<Group> group;
  Comm* comm;
  Operation operation;
  const std::byte* from;
  std::byte* to;
  std::size_t number = 0;  // among those of the group; 0: it has not begun
};

// With the group locked.
Meeting& begin(Call& call) {
  Group& group = *call.group;
  if (call.number != 0) return group.meetings[call.number];
  call.number = ++call.comm->begun;
  const auto [found, is_new] = group.meetings.try_emplace(call.number);
  Meeting& meeting = found->second;
  if (is_new) {
    meeting.operation = call.operation;
    meeting.shares.resize(static_cast<std::size_t>(call.comm->size));
  }
  if (!(meeting.operation == call.operation)) group.is_mismatched = true;
  meeting.shares[static_cast<std::size_t>(call.comm->rank)] = {call.from, call.to, true};
  return meeting;
}

/// Whether the collective is done.
bool meet(Call& call) {
  std::vector<Comm*> missing;
  {
    Group& group = *call.group;
    const std::lock_guard lock(group.mutex);
    if (std::ranges::find(group.comms, call.comm) == group.comms.end() || call.comm->is_aborted)
      return true;
    Meeting& meeting = begin(call);
    if (!meeting.is_done && !meeting.is_lost && !group.is_mismatched &&
        std::ranges::all_of(meeting.shares, [](const Share& share) { return share.has_come; })) {
      perform(meeting);
      meeting.is_done = true;
    }
    if (meeting.is_done) return true;
    for (std::size_t r = 0; r < meeting.shares.size(); ++r)
      if (!meeting.shares[r].has_come && group.comms[r]) missing.push_back(group.comms[r]);
  }
  for (Comm* peer : missing) drive(*call.group, peer);
  const std::lock_guard lock(call.group->mutex);
  return call.group->meetings[call.number].is_done;
}

void enqueue(Comm* comm, const Operation& operation, const void* from, void* to,
             nccl::Stream stream) {
  auto* queue = dynamic_cast<emulation::PolledQueue*>(static_cast<simt::Queue*>(stream));
  ++comm->enqueued;
  {
    const std::lock_guard lock(comm->group->mutex);
    comm->queue = queue;
  }
  queue->add_polled([call = Call{comm->group, comm, operation, static_cast<const std::byte*>(from),
                                 static_cast<std::byte*>(to)}]() mutable { return meet(call); });
}

Result collective(const char* function, Comm* comm, const Operation& operation, const void* from,
                  void* to, nccl::Stream stream) {
  if (const Result result = note(comm, function); result != Result::kSuccess) return result;
  if (pending().depth == 0) return Result{5};  // it would be allowed, but nobody here does it
  if (comm->asks > 0) return Result{5};        // another call is in progress
  if (operation.count > 0)
    pending().work.emplace_back(comm, [=] { enqueue(comm, operation, from, to, stream); });
  return Result::kSuccess;
}

/// It is gone for the others once nobody looks at its queue.
void leave(Comm* comm) {
  {
    const std::lock_guard lock(comm->group->mutex);
    comm->is_aborted = true;
    for (auto& [number, meeting] : comm->group->meetings)
      meeting.is_lost = meeting.is_lost || !meeting.is_done;
    comm->group->comms[static_cast<std::size_t>(comm->rank)] = nullptr;
  }
  while (comm->is_driven) std::this_thread::yield();
}

}  // namespace
}  // namespace phalanx

using namespace phalanx;

extern "C" {

Result ncclGetVersion(int* version) {
  const std::string given = variable("FAKE_NCCL_VERSION");
  *version = given.empty() ? 22809 : std::stoi(given);
  return Result::kSuccess;
}

const char* ncclGetErrorString(Result result) {
  return result == Result{6} ? "remote process exited or there was a network error"
                             : "some other error";
}

const char* ncclGetLastError(Comm*) { return "said the fake"; }

Result ncclGetUniqueId(nccl::UniqueId* id) {
  if (const Result result = note(nullptr, "ncclGetUniqueId"); result != Result::kSuccess)
    return result;
  const std::lock_guard lock(registry().mutex);
  const std::uint64_t number = ++registry().last_id;
  std::memcpy(id->internal, &number, sizeof number);
  return Result::kSuccess;
}

Result ncclCommInitRankConfig(Comm** made, int ranks, nccl::UniqueId id, int rank,
                              nccl::Config* config) {
  if (config->size != 24 || config->magic != 0xcafebeef || config->blocking != 0) return Result{4};
  auto comm = std::make_unique<Comm>();
  comm->rank = rank;
  comm->size = ranks;
  if (const Result result = note(comm.get(), "ncclCommInitRankConfig"); result != Result::kSuccess)
    return result;
  std::uint64_t number = 0;
  std::memcpy(&number, id.internal, sizeof number);
  {
    const std::lock_guard lock(registry().mutex);
    std::weak_ptr<Group>& known = registry().groups[number];
    comm->group = known.lock();
    if (!comm->group) known = comm->group = std::make_shared<Group>();
  }
  const std::lock_guard lock(comm->group->mutex);
  comm->group->comms.resize(static_cast<std::size_t>(ranks));
  comm->group->comms[static_cast<std::size_t>(rank)] = comm.get();
  ++comm->group->members;
  comm->asks = kAsksInProgress;
  *made = comm.release();
  return Result::kInProgress;
}

Result ncclCommGetAsyncError(Comm* comm, Result* state) {
  *state = Result::kSuccess;
  if (const Result result = note(comm, "ncclCommGetAsyncError"); result != Result::kSuccess) {
    *state = result;
    return Result::kSuccess;
  }
  std::istringstream words(variable("FAKE_NCCL_ASYNC"));
  int rank = 0, code = 0;
  std::size_t nth = 0;
  if (words >> rank >> nth >> code && rank == comm->rank && comm->enqueued >= nth) {
    *state = Result{code};
    return Result::kSuccess;
  }
  bool are_all_here = false;
  {
    const std::lock_guard lock(comm->group->mutex);
    if (comm->group->is_mismatched) *state = Result{5};
    are_all_here = comm->group->members == comm->size;
  }
  if (comm->asks > 0) {
    *state = Result::kInProgress;
    if (are_all_here && variable("FAKE_NCCL_NEVER") != std::to_string(comm->rank) &&
        --comm->asks == 0) {
      for (const auto& work : std::exchange(comm->in_progress, {})) work();
      *state = Result::kSuccess;
    }
  }
  return Result::kSuccess;
}

Result ncclCommFinalize(Comm* comm) {
  if (const Result result = note(comm, "ncclCommFinalize"); result != Result::kSuccess)
    return result;
  comm->asks = kAsksInProgress;
  return Result::kInProgress;
}

Result ncclCommDestroy(Comm* comm) {
  const Result result = note(comm, "ncclCommDestroy");
  leave(comm);
  delete comm;
  return result;
}

Result ncclCommAbort(Comm* comm) {
  const Result result = note(comm, "ncclCommAbort");
  leave(comm);
  delete comm;
  return result;
}

Result ncclGroupStart() {
  if (const Result result = note(nullptr, "ncclGroupStart"); result != Result::kSuccess)
    return result;
  ++pending().depth;
  return Result::kSuccess;
}

/// What a group enqueues the first time takes connections, and is in progress for a while.
Result ncclGroupEnd() {
  if (pending().depth == 0) return Result{5};
  if (--pending().depth > 0) return Result::kSuccess;
  auto pending_work = std::exchange(pending().work, {});
  Result result = note(nullptr, "ncclGroupEnd");
  if (result != Result::kSuccess) return result;
  for (auto& [comm, work] : pending_work) {
    if (comm->enqueued > 0) {
      work();
      continue;
    }
    comm->in_progress.push_back(std::move(work));
    comm->asks = kAsksInProgress;
    result = Result::kInProgress;
  }
  return result;
}

Result ncclAllReduce(const void* from, void* to, std::size_t count, nccl::Type type, nccl::Op op,
                     Comm* comm, nccl::Stream stream) {
  return collective("ncclAllReduce", comm, {Kind::kAllReduce, count, type, op, 0}, from, to,
                    stream);
}
Result ncclReduce(const void* from, void* to, std::size_t count, nccl::Type type, nccl::Op op,
                  int root, Comm* comm, nccl::Stream stream) {
  return collective("ncclReduce", comm, {Kind::kReduce, count, type, op, root}, from, to, stream);
}
Result ncclReduceScatter(const void* from, void* to, std::size_t count, nccl::Type type,
                         nccl::Op op, Comm* comm, nccl::Stream stream) {
  return collective("ncclReduceScatter", comm, {Kind::kReduceScatter, count, type, op, 0}, from, to,
                    stream);
}
Result ncclBroadcast(const void* from, void* to, std::size_t count, nccl::Type type, int root,
                     Comm* comm, nccl::Stream stream) {
  return collective("ncclBroadcast", comm, {Kind::kBroadcast, count, type, nccl::Op::kSum, root},
                    from, to, stream);
}
Result ncclAllGather(const void* from, void* to, std::size_t count, nccl::Type type, Comm* comm,
                     nccl::Stream stream) {
  return collective("ncclAllGather", comm, {Kind::kAllGather, count, type, nccl::Op::kSum, 0}, from,
                    to, stream);
}

}  // extern "C"
