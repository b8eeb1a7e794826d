// Compares the interpreter and the translator with the processor on generated sequences. See README.md.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "generator.hpp"
#include "guest_side.hpp"
#include "native.hpp"
#include "random.hpp"
#include "undefined.hpp"

namespace skerry::fuzz {

namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

struct Options {
  uint64_t seed = 1;
  uint64_t sequences = 0;  // 0: by time
  std::chrono::seconds time{60};
  unsigned failures = 1;  // stop after so many
  fs::path corpus;
  bool keep = true;
  std::string only;  // one engine
};

class Comparison {
 public:
  explicit Comparison(const std::string& only) {
    // In this order: the interpreter installs a handler of SIGFPE, and the native side calls it for what is not its own.
    if (only != "translator") engines_.push_back(make_interpreter_side());
    if (only != "interpreter") engines_.push_back(make_translator_side());
    native_ = make_native_side();
  }

  std::string run(const Case& test) {
    Outcome expected;
    native_->run(test, expected);
    if (!expected.usable) return "";
    ++vectors_[expected.vector];
    std::string text;
    for (const auto& engine : engines_) {
      Outcome actual;
      engine->run(test, actual);
      if (!actual.usable) text += fmt::format("  the {} does not come to an end\n", engine->name());
      else if (const auto found = difference(test, expected, actual); !found.empty())
        text += fmt::format("  {}:\n{}", engine->name(), found);
    }
    return text;
  }
  // Removes instructions as long as the difference stays.
  Case shrink(Case test) {
    for (bool smaller = true; smaller;) {
      smaller = false;
      for (const Step& step : analyse(test)) {
        const size_t at = step.rip - test.registers.rip;
        const size_t length = step.decoded.instruction.length;
        if (at >= test.code.size() || test.code[at] == kNop) continue;
        Case shorter = test;
        std::fill_n(shorter.code.begin() + static_cast<ptrdiff_t>(at), length, kNop);
        if (depends_on_undefined(analyse(shorter)) || run(shorter).empty()) continue;
        test = shorter;
        smaller = true;
      }
    }
    return without_nops(test);
  }
  const uint64_t* vectors() const { return vectors_; }

 private:
  static constexpr uint8_t kNop = 0x90;
  // The remaining instructions close together, if they still differ so.
  Case without_nops(const Case& test) {
    Case shorter = test;
    std::erase(shorter.code, kNop);
    return shorter.code.empty() || depends_on_undefined(analyse(shorter)) || run(shorter).empty() ? test : shorter;
  }
  std::vector<std::unique_ptr<Side>> engines_;
  std::unique_ptr<Side> native_;
  uint64_t vectors_[256] = {};
};

void report(const Case& test, const std::string& text) {
  const uint64_t* r = test.registers.gpr;
  fmt::print("{}  begins with rax {:x} rcx {:x} rdx {:x} rbx {:x} rsp {:x} rbp {:x} rsi {:x} rdi {:x}\n", listing(test), r[0],
             r[1], r[2], r[3], r[4], r[5], r[6], r[7]);
  fmt::print("    r8 {:x} r9 {:x} r10 {:x} r11 {:x} r12 {:x} r13 {:x} r14 {:x} r15 {:x} rflags {:x}\n{}\n", r[8], r[9], r[10],
             r[11], r[12], r[13], r[14], r[15], test.registers.rflags, text);
}

// Not where this processor does otherwise than that on which the case was found.
bool applies_here(const Case& test) {
  const std::vector<Step> steps = analyse(test);
  const bool tested = std::all_of(steps.begin(), steps.end() - 1, [](const Step& step) { return may_be_tested(step.decoded); });
  return tested && !depends_on_undefined(steps);
}

bool replay_corpus(Comparison& comparison, const Options& options) {
  bool good = true;
  unsigned count = 0;
  std::set<fs::path> files;
  if (fs::exists(options.corpus))
    for (const fs::directory_entry& entry : fs::directory_iterator(options.corpus))
      if (entry.path().extension() == ".case") files.insert(entry.path());
  for (const fs::path& path : files) {
    std::ifstream in(path);
    const Case test = from_text(std::string(std::istreambuf_iterator<char>(in), {}));
    if (!applies_here(test)) {
      fmt::print("left out on this processor: {}\n", path.string());
      continue;
    }
    ++count;
    const std::string text = comparison.run(test);
    if (text.empty()) continue;
    fmt::print("{}\n", path.string());
    report(test, text);
    good = false;
  }
  fmt::print("corpus: {} cases\n", count);
  return good;
}

void save(const Case& test, uint64_t seed, const Options& options) {
  fs::create_directories(options.corpus);
  const fs::path path = options.corpus / fmt::format("{:016x}.case", seed);
  std::ofstream(path) << to_text(test);
  fmt::print("written to {}\n", path.string());
}

bool run_sequences(Comparison& comparison, const Options& options) {
  Random seeds(options.seed);
  const auto end = Clock::now() + options.time;
  unsigned failures = 0;
  uint64_t count = 0;
  for (; options.sequences ? count < options.sequences : Clock::now() < end; ++count) {
    const uint64_t seed = seeds.next();
    const Case test = generate(seed);
    if (comparison.run(test).empty()) continue;
    const Case smaller = comparison.shrink(test);
    fmt::print("sequence {} (seed {}) differs:\n", count, options.seed);
    report(smaller, comparison.run(smaller));
    if (options.keep) save(smaller, seed, options);
    if (++failures >= options.failures) break;
  }
  fmt::print("{} sequences, {} differ; ended by:", count, failures);
  for (unsigned n = 0; n < 32; ++n)
    if (comparison.vectors()[n]) fmt::print(" #{} {}", n, comparison.vectors()[n]);
  fmt::print("\n");
  return failures == 0;
}

int usage() {
  fmt::print(stderr, "usage: fuzz_insn [--seed N] [--sequences N | --seconds N] [--failures N] [--no-save] [--interpreter | --translator] CORPUS\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int n = 1; n < argc; ++n) {
    const std::string_view option = argv[n];
    if (option == "--no-save") {
      options.keep = false;
    } else if (option == "--interpreter" || option == "--translator") {
      options.only = option.substr(2);
    } else if (option.starts_with("--")) {
      if (++n == argc) return usage();
      const uint64_t value = std::strtoull(argv[n], nullptr, 0);
      if (option == "--seed") options.seed = value;
      else if (option == "--sequences") options.sequences = value;
      else if (option == "--seconds") options.time = std::chrono::seconds(value);
      else if (option == "--failures") options.failures = static_cast<unsigned>(value);
      else return usage();
    } else {
      options.corpus = option;
    }
  }
  if (options.corpus.empty()) return usage();
  Comparison comparison(options.only);
  const bool corpus = replay_corpus(comparison, options);
  return run_sequences(comparison, options) && corpus ? 0 : 1;
}

}  // namespace skerry::fuzz

int main(int argc, char** argv) { return skerry::fuzz::main(argc, argv); }
