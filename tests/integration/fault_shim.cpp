// SPDX-License-Identifier: Apache-2.0
// Loaded into the program by LD_PRELOAD. Makes faults at a place that no signal from outside could meet. Variables:
//   PHALANX_FAULT    "PLACE N": the process kills itself when it comes to the place for the N-th time; or
//                    "PLACE N RANK SIGNAL": that rank gets that signal. Places:
//     backward       a convolution's backward pass
//     collective     a wait for other ranks
//     write          a write to a checkpoint
//     fsync          a checkpoint, or another file, is forced to disk
//     rename         and gets its name
//     finalize       MPI is left
//   PHALANX_CLOCK    "SECONDS N": the clock of the day is set back by that much with the N-th of those backward passes
#include <dlfcn.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <oneapi/dnnl/dnnl.h>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

struct Fault {
  std::string place;
  long countdown = 0;
  int signal = SIGKILL;

  Fault() {
    std::array<char, 16> word{};
    int rank = -1;
    const char* text = std::getenv("PHALANX_FAULT");
    const char* mine = std::getenv("OMPI_COMM_WORLD_RANK");
    if (text == nullptr ||
        std::sscanf(text, "%15s %ld %d %d", word.data(), &countdown, &rank, &signal) < 2)
      return;
    if (rank < 0 || (mine != nullptr && std::atoi(mine) == rank)) place = word.data();
  }
};

struct ClockJump {
  long seconds = 0, countdown = 0;

  ClockJump() {
    const char* text = std::getenv("PHALANX_CLOCK");
    if (text != nullptr) std::sscanf(text, "%ld %ld", &seconds, &countdown);
  }
};

std::atomic<long> backward_passes{0};

void pass(std::string_view place) {
  static const Fault fault;
  static std::atomic<long> passed{0};
  if (fault.place == place && ++passed == fault.countdown) kill(getpid(), fault.signal);
}

/// Seconds by which the clock of the day is behind by now.
long set_back() {
  static const ClockJump jump;
  return backward_passes >= jump.countdown ? jump.seconds : 0;
}

/// The function that the shim stands before.
template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

bool is_checkpoint(int fd) {
  std::array<char, 4096> target{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = readlink(link.c_str(), target.data(), target.size());
  return size > 0 &&
         std::string_view(target.data(), static_cast<std::size_t>(size)).find("/checkpoints/") !=
             std::string_view::npos;
}

}  // namespace

extern "C" {

int MPI_Finalize();

dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream,
                                     int count, const dnnl_exec_arg_t* arguments) {
  const_dnnl_primitive_desc_t description = nullptr;
  dnnl_prop_kind_t kind = dnnl_prop_kind_undef;
  if (dnnl_primitive_get_primitive_desc(primitive, &description) == dnnl_success &&
      dnnl_primitive_desc_query(description, dnnl_query_prop_kind, 0, &kind) == dnnl_success &&
      kind >= dnnl_backward) {
    ++backward_passes;
    pass("backward");
  }
  return next<decltype(dnnl_primitive_execute)>("dnnl_primitive_execute")(primitive, stream, count,
                                                                          arguments);
}

int sched_yield() noexcept {
  pass("collective");
  return next<decltype(sched_yield)>("sched_yield")();
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  if (is_checkpoint(fd)) pass("write");
  return next<decltype(pwrite)>("pwrite")(fd, data, size, offset);
}

int fsync(int fd) {
  pass("fsync");
  return next<decltype(fsync)>("fsync")(fd);
}

int MPI_Finalize() {
  pass("finalize");
  return next<decltype(MPI_Finalize)>("MPI_Finalize")();
}

int rename(const char* from, const char* to) noexcept {
  pass("rename");
  return next<decltype(rename)>("rename")(from, to);
}

int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const int status = next<decltype(clock_gettime)>("clock_gettime")(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec -= set_back();
  return status;
}

time_t time(time_t* copy) noexcept {
  const time_t now = next<decltype(time)>("time")(nullptr) - set_back();
  if (copy != nullptr) *copy = now;
  return now;
}

int gettimeofday(timeval* __restrict now, void* __restrict zone) noexcept {
  const int status = next<decltype(gettimeofday)>("gettimeofday")(now, zone);
  now->tv_sec -= set_back();
  return status;
}

}  // extern "C"
