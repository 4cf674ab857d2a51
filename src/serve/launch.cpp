// SPDX-License-Identifier: Apache-2.0
#include "serve/launch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "core/error.hpp"

namespace phalanx {
namespace {

/// Open MPI hands these to the processes that it starts; a job inside would take itself for a part of the one outside.
constexpr std::array<std::string_view, 24> kOfALaunch = {"PMIX_",
                                                         "PMI_",
                                                         "OMPI_COMM_WORLD_",
                                                         "OMPI_UNIVERSE_SIZE",
                                                         "OMPI_APP_CTX_NUM_PROCS",
                                                         "OMPI_FIRST_RANKS",
                                                         "OMPI_NUM_APP_CTX",
                                                         "OMPI_FILE_LOCATION",
                                                         "OMPI_ARGV",
                                                         "OMPI_COMMAND",
                                                         "OMPI_MCA_ess",
                                                         "OMPI_MCA_initial_wdir",
                                                         "OMPI_MCA_mpi_oversubscribe",
                                                         "OMPI_MCA_orte_app_num",
                                                         "OMPI_MCA_orte_ess_",
                                                         "OMPI_MCA_orte_hnp_uri",
                                                         "OMPI_MCA_orte_jobfam_session_dir",
                                                         "OMPI_MCA_orte_launch",
                                                         "OMPI_MCA_orte_local_daemon_uri",
                                                         "OMPI_MCA_orte_num_nodes",
                                                         "OMPI_MCA_orte_precondition_transports",
                                                         "OMPI_MCA_orte_top_session_dir",
                                                         "OMPI_MCA_pmix",
                                                         "OMPI_MCA_shmem_RUNTIME_QUERY_hint"};

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

std::vector<std::string> environment_for_job(const std::vector<std::string>& added) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (std::ranges::none_of(kOfALaunch, [&](auto prefix) { return text.starts_with(prefix); }))
      all.emplace_back(text);
  }
  all.insert(all.end(), added.begin(), added.end());
  return all;
}

int start_process(const std::vector<std::string>& arguments,
                  const std::vector<std::string>& environment) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  // Signals of a terminal are for the front end, which ends the ranks when their work is done.
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, arguments[0].c_str(), &files, &attributes,
                                   pointers_to(arguments).data(), pointers_to(environment).data());
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0)
    throw IoError(fmt::format("cannot start {}: {}", arguments[0], std::strerror(error)));
  return pid;
}

ProcessHandle::ProcessHandle(std::int64_t pid) noexcept
    : pid_(pid), descriptor_(pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1) {}

ProcessHandle::ProcessHandle(ProcessHandle&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), descriptor_(std::exchange(other.descriptor_, -1)) {}

ProcessHandle& ProcessHandle::operator=(ProcessHandle&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

ProcessHandle::~ProcessHandle() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool ProcessHandle::kill() noexcept {
  if (descriptor_ >= 0)
    return ::syscall(SYS_pidfd_send_signal, descriptor_, SIGKILL, nullptr, 0) == 0;
  return pid_ > 0 && ::kill(static_cast<pid_t>(pid_), SIGKILL) == 0;
}

std::string random_token() {
  std::array<unsigned char, 32> bytes{};
  if (::RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    throw Error("the system gives no random numbers");
  std::string text;
  for (unsigned char b : bytes) text += fmt::format("{:02x}", b);
  return text;
}

bool equal_secrets(const std::string& a, const std::string& b) noexcept {
  return a.size() == b.size() && ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace phalanx
