#include "base/fault.h"

#include <cassert>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "base/log.h"

namespace farcall::fault {
namespace internal {
std::atomic<State> state = State::kUnknown;
}
namespace {

using internal::State;

struct Rule {
  const void* owner = nullptr;  // the Armed; null for the environment's
  std::string point;
  uint64_t number = 1;
  enum class When : uint8_t { kOnly, kFrom, kEvery } when = When::kEvery;
  uint64_t passes = 0;
  uint64_t failures = 0;
};

// Process-wide on purpose: a failure point is reached from anywhere. Leaked, as it may be reached
// at exit.
struct Registry {
  std::mutex mutex;
  bool environment_read = false;
  std::vector<Rule> rules;
};
Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

bool parse_rule(std::string_view text, Rule& rule) {
  const size_t mark = text.find_first_of("@%");
  rule.point = text.substr(0, mark);
  if (rule.point.empty()) return false;
  if (mark == std::string_view::npos) return true;
  std::string_view digits = text.substr(mark + 1);
  rule.when = text[mark] == '%' ? Rule::When::kEvery : Rule::When::kOnly;
  if (rule.when == Rule::When::kOnly && digits.ends_with('+')) {
    rule.when = Rule::When::kFrom;
    digits.remove_suffix(1);
  }
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, rule.number);
  return error == std::errc() && stop == end && rule.number > 0;
}

// Adds the rules of `spec`; false if one is malformed. The lock is held.
bool add_rules(Registry& all, std::string_view spec, const void* owner) {
  bool good = true;
  while (!spec.empty()) {
    const std::string_view text = spec.substr(0, spec.find(','));
    spec.remove_prefix(std::min(spec.size(), text.size() + 1));
    Rule rule;
    rule.owner = owner;
    if (parse_rule(text, rule)) {
      all.rules.push_back(std::move(rule));
    } else {
      log::error("fault '{}' is not point, point@N, point@N+ or point%N", text);
      good = false;
    }
  }
  return good;
}

void update_state(Registry& all) {
  if (!all.environment_read) {
    all.environment_read = true;
    const char* spec = std::getenv("FARCALL_FAULTS");
    if (spec != nullptr) add_rules(all, spec, nullptr);
  }
  internal::state = all.rules.empty() ? State::kOff : State::kOn;
}

bool applies(Rule& rule) {
  ++rule.passes;
  switch (rule.when) {
    case Rule::When::kOnly:
      return rule.passes == rule.number;
    case Rule::When::kFrom:
      return rule.passes >= rule.number;
    case Rule::When::kEvery:
      return rule.passes % rule.number == 0;
  }
  return false;
}

template <uint64_t Rule::*Member>
uint64_t sum_of(const void* owner) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  uint64_t sum = 0;
  for (const Rule& rule : all.rules) {
    if (rule.owner == owner) sum += rule.*Member;
  }
  return sum;
}

}  // namespace

bool internal::hit_slowly(std::string_view point) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  update_state(all);
  bool fails = false;
  for (Rule& rule : all.rules) {
    if (rule.point != point || !applies(rule)) continue;
    ++rule.failures;
    fails = true;
  }
  if (fails) log::info("fault: {} fails on purpose", point);
  return fails;
}

Armed::Armed(std::string_view spec) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const bool good = add_rules(all, spec, this);
  assert(good && "a malformed fault specification");
  (void)good;
  update_state(all);
}

Armed::~Armed() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  std::erase_if(all.rules, [this](const Rule& rule) { return rule.owner == this; });
  update_state(all);
}

uint64_t Armed::pass_count() const { return sum_of<&Rule::passes>(this); }
uint64_t Armed::failure_count() const { return sum_of<&Rule::failures>(this); }

}  // namespace farcall::fault
