#include "net/user/port_owner.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <set>

namespace skerry::net::user {

namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using Folder = std::unique_ptr<DIR, CloseFolder>;

// The socket numbers of those that wait at `port`, from a table such as /proc/net/tcp (proc(5)).
void add_sockets(const char* table, bool udp, uint16_t port, std::set<unsigned long>& sockets) {
  constexpr unsigned kListening = 0x0a;  // TCP_LISTEN
  std::FILE* file = std::fopen(table, "re");
  if (!file) return;
  std::array<char, 512> line;
  while (std::fgets(line.data(), line.size(), file)) {
    unsigned local = 0, state = 0;
    unsigned long inode = 0;
    constexpr const char* kFormat = " %*d: %*32[0-9A-Fa-f]:%x %*32[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*d %*d %lu";
    if (std::sscanf(line.data(), kFormat, &local, &state, &inode) != 3) continue;
    if (local == port && (udp || state == kListening)) sockets.insert(inode);
  }
  std::fclose(file);
}

bool has_one_of(const std::string& fds, const std::set<unsigned long>& sockets) {
  const Folder folder(::opendir(fds.c_str()));
  if (!folder) return false;
  while (const dirent* entry = ::readdir(folder.get())) {
    std::array<char, 64> target{};
    if (::readlink((fds + "/" + entry->d_name).c_str(), target.data(), target.size() - 1) <= 0) continue;
    unsigned long inode = 0;
    if (std::sscanf(target.data(), "socket:[%lu]", &inode) == 1 && sockets.contains(inode)) return true;
  }
  return false;
}

std::string name_of(const std::string& process) {
  std::FILE* file = std::fopen(("/proc/" + process + "/comm").c_str(), "re");
  if (!file) return {};
  std::array<char, 64> name{};
  const size_t size = std::fread(name.data(), 1, name.size() - 1, file);
  std::fclose(file);
  std::string text(name.data(), size);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

std::string port_owner(bool udp, uint16_t port) {
  std::set<unsigned long> sockets;
  add_sockets(udp ? "/proc/net/udp" : "/proc/net/tcp", udp, port, sockets);
  add_sockets(udp ? "/proc/net/udp6" : "/proc/net/tcp6", udp, port, sockets);
  const Folder processes(::opendir("/proc"));
  while (const dirent* entry = processes && !sockets.empty() ? ::readdir(processes.get()) : nullptr) {
    const std::string process = entry->d_name;
    if (process.find_first_not_of("0123456789") != process.npos) continue;
    if (has_one_of("/proc/" + process + "/fd", sockets))
      return fmt::format("process {} ({})", process, name_of(process));
  }
  return "another program";
}

}  // namespace skerry::net::user
