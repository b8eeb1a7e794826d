#include "cli/yaml_check.hpp"

#include <yaml.h>

namespace skerry::cli {

namespace {

constexpr size_t kMaxDepth = 64;  // cloud-init's own documents have less than ten levels

struct Event : yaml_event_t {
  Event() : yaml_event_t{} {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { ::yaml_event_delete(this); }
};

Error at(const yaml_mark_t& mark, std::string_view problem) {
  return error("line {}, column {}: {}", mark.line + 1, mark.column + 1, problem);
}

class Outliner {
 public:
  explicit Outliner(std::string_view text) {
    ready_ = ::yaml_parser_initialize(&parser_) != 0;
    if (!ready_) return;
    ::yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    ::yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  Outliner(const Outliner&) = delete;
  Outliner& operator=(const Outliner&) = delete;
  ~Outliner() {
    if (ready_) ::yaml_parser_delete(&parser_);
  }

  Result<YamlOutline> run() {
    if (!ready_) return error("there is no memory to read it");
    for (;;) {
      Event event;
      if (!::yaml_parser_parse(&parser_, &event)) return problem();
      if (event.type == YAML_STREAM_END_EVENT) return outline_;
      if (auto good = take(event); !good) return std::move(good).error();
    }
  }

 private:
  Error problem() const {
    const char* what = parser_.problem ? parser_.problem : "is not YAML";
    if (parser_.error == YAML_READER_ERROR)
      return error("byte {}: {}", parser_.problem_offset, what);
    return at(parser_.problem_mark, what);
  }

  Result<void> take(const Event& event) {
    switch (event.type) {
      case YAML_DOCUMENT_START_EVENT:
        if (documents_++ != 0) return at(event.start_mark, "a second document begins; cloud-init takes one");
        implicit_ = event.data.document_start.implicit != 0;
        return ok();
      case YAML_MAPPING_START_EVENT:
      case YAML_SEQUENCE_START_EVENT: return open(event);
      case YAML_MAPPING_END_EVENT:
      case YAML_SEQUENCE_END_EVENT: --depth_; return ok();
      case YAML_SCALAR_EVENT:
      case YAML_ALIAS_EVENT: leaf(event); return ok();
      default: return ok();
    }
  }

  Result<void> open(const Event& event) {
    const bool mapping = event.type == YAML_MAPPING_START_EVENT;
    if (depth_ == kMaxDepth) return at(event.start_mark, "is nested too deeply");
    if (depth_ == 1) ++children_;
    if (depth_++ != 0) return ok();
    outline_.root = mapping ? YamlOutline::Root::kMapping : YamlOutline::Root::kSequence;
    outline_.can_be_prepended = mapping && implicit_ && event.start_mark.column == 0 &&
                                event.data.mapping_start.style == YAML_BLOCK_MAPPING_STYLE &&
                                !event.data.mapping_start.anchor && !event.data.mapping_start.tag;
    return ok();
  }

  void leaf(const Event& event) {
    if (depth_ == 0) {
      // An empty document is a scalar of no characters.
      const bool empty = event.type == YAML_SCALAR_EVENT && event.data.scalar.length == 0;
      outline_.root = empty ? YamlOutline::Root::kNothing : YamlOutline::Root::kScalar;
    } else if (depth_ == 1) {
      const bool key = outline_.root == YamlOutline::Root::kMapping && children_ % 2 == 0;
      if (key && event.type == YAML_SCALAR_EVENT)
        outline_.keys.emplace_back(reinterpret_cast<const char*>(event.data.scalar.value), event.data.scalar.length);
      ++children_;
    }
  }

  yaml_parser_t parser_;
  bool ready_ = false;
  YamlOutline outline_;
  size_t depth_ = 0, documents_ = 0;
  size_t children_ = 0;  // of the outermost node; of a mapping keys and values by turns
  bool implicit_ = false;
};

}  // namespace

Result<YamlOutline> check_yaml(std::string_view text) { return Outliner(text).run(); }

}  // namespace skerry::cli
