// Where the guest's status flags are. See docs/engine.md, "Flags".
#include "accel/bt/translator.hpp"

namespace skerry::accel::bt {

using namespace x86;
using How = FlagRecipe::How;
using Operand = FlagRecipe::Operand;
using Where = FlagRecipe::Operand::Where;
using Xbyak::Reg64;

namespace {

bool is_high_byte(ZydisRegister reg) { return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH; }

// As it is right after an instruction that does not write to it.
Operand unchanged(const ZydisDecodedOperand& operand, unsigned size) {
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) return {.where = Where::kKept};
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return {.where = Where::kImmediate, .immediate = immediate_of(operand, size)};
  return {.where = Where::kRegister, .guest = static_cast<uint8_t>(*general_register(operand.reg.value))};
}

// The result of an instruction.
Operand result(const ZydisDecodedOperand& operand) { return unchanged(operand, operand.size / 8u); }

}  // namespace

uint16_t FlagRecipe::registers() const {
  unsigned set = 0;
  for (const Operand& operand : operands)
    if (operand.where == Where::kRegister) set |= 1u << operand.guest;
  return static_cast<uint16_t>(set);
}

FlagRecipe FlagRecipe::of(const Decoded& decoded, uint32_t offset) {
  FlagRecipe recipe;
  const ZydisDecodedOperand& target = decoded.operands[0];
  const unsigned count = decoded.instruction.operand_count_visible;
  const ZydisDecodedOperand& source = decoded.operands[count > 1 ? 1 : 0];
  if (decoded.has(ZYDIS_ATTRIB_HAS_LOCK)) return recipe;
  for (const ZydisDecodedOperand* operand : {&target, &source})
    if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && (is_high_byte(operand->reg.value) || !general_register(operand->reg.value))) return recipe;
  const bool in_memory = target.type == ZYDIS_OPERAND_TYPE_MEMORY;
  const bool twice = target.type == ZYDIS_OPERAND_TYPE_REGISTER && source.type == ZYDIS_OPERAND_TYPE_REGISTER &&
                     general_register(target.reg.value) == general_register(source.reg.value);
  const unsigned bytes = target.size / 8u;
  const auto made = [&](How kind, Operand a, Operand b = {}) {
    recipe = {.how = kind, .size = static_cast<uint8_t>(bytes), .offset = offset, .operands = {a, b}};
    return recipe;
  };
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CMP: return made(How::kCompared, unchanged(target, bytes), unchanged(source, bytes));
    case ZYDIS_MNEMONIC_TEST:
      if (twice) return made(How::kResult, unchanged(target, bytes));
      return made(How::kTested, unchanged(target, bytes), unchanged(source, bytes));
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR: return made(How::kResult, result(target));
    case ZYDIS_MNEMONIC_NEG:
      if (bytes < 4 || in_memory) return recipe;
      return made(How::kNegated, result(target));
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
      if (bytes < 4 || twice) return recipe;
      return made(decoded.instruction.mnemonic == ZYDIS_MNEMONIC_ADD ? How::kAdded : How::kSubtracted, result(target), unchanged(source, bytes));
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR: {
      if (bytes < 4 || in_memory || source.type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return recipe;
      const auto by = static_cast<int32_t>(source.imm.value.u & (8 * bytes - 1));
      if (by == 0) return recipe;
      const How kind = decoded.instruction.mnemonic == ZYDIS_MNEMONIC_SHL   ? How::kShiftedLeft
                      : decoded.instruction.mnemonic == ZYDIS_MNEMONIC_SHR ? How::kShiftedRight
                                                                           : How::kShiftedArithmetically;
      return made(kind, {.where = Where::kKept}, {.where = Where::kImmediate, .immediate = by});
    }
    case ZYDIS_MNEMONIC_IMUL: {
      if (count < 2 || bytes < 4 || source.type != ZYDIS_OPERAND_TYPE_REGISTER) return recipe;
      if (count == 3) return made(How::kMultiplied, twice ? Operand{.where = Where::kKept} : unchanged(source, bytes), unchanged(decoded.operands[2], bytes));
      if (twice) return recipe;
      return made(How::kMultiplied, {.where = Where::kKept}, unchanged(source, bytes));
    }
    default: return recipe;
  }
}

// Into EFLAGS. Uses both scratch registers.
void Translator::make_flags(const FlagRecipe& recipe) {
  held_ = -1;
  const auto& [a, b] = recipe.operands;
  const bool destroys = recipe.how != How::kCompared && recipe.how != How::kTested && recipe.how != How::kResult;
  const auto in_register = [&](const Operand& operand, unsigned n, bool copied) {
    const Reg64& scratch = n == 0 ? first_ : second_;
    if (operand.where == Where::kKept) load_field(scratch, at_.flag_value[n]);
    else if (copied || is_homed(operand.guest)) load_guest(scratch, operand.guest);
    else return sized(host_register(operand.guest), recipe.size);
    return sized(static_cast<unsigned>(scratch.getIdx()), recipe.size);
  };
  const Xbyak::Reg value = in_register(a, 0, destroys);
  if (b.where != Where::kRegister && b.where != Where::kKept) return do_again(recipe.how, value, nullptr, b.immediate);
  const Xbyak::Reg other = in_register(b, 1, false);
  do_again(recipe.how, value, &other, 0);
}

// To what is at a block's end: the flags are then made by pack_, if ever.
void Translator::keep_flags(const FlagRecipe& recipe) {
  uint32_t kept = kept_flags(static_cast<unsigned>(recipe.how), recipe.size);
  for (unsigned n = 0; n < 2; ++n) {
    const Operand& operand = recipe.operands[n];
    if (operand.where == Where::kRegister) {
      keep_operand(n, operand.guest);
    } else if (operand.where == Where::kImmediate) {
      if (fits_kept(operand.immediate)) kept = with_immediate(kept, operand.immediate);
      else store_field_value(at_.flag_value[n], operand.immediate);
    }
  }
  store_field32(at_.kept, kept);
  packed_ = false;
}

void Translator::keep_operand(unsigned n, unsigned guest) {
  if (is_homed(guest)) load_guest(second_, guest);
  store_field(at_.flag_value[n], is_homed(guest) ? second_ : Reg64(static_cast<int>(host_register(guest))));
}

// Of an instruction that is about to be written: what it overwrites is kept if flags may still have to be made of it. One that
// overwrites all flags too needs them no longer than it needs its operands.
void Translator::keep_recipe(const RegisterUse& use, bool overwrites_flags) {
  if (overwrites_flags || !(use.written & recipe_.registers())) return;
  if (flags_ == Flags::kRecipe || (flags_ == Flags::kHost && flags_survive(index_))) {
    for (unsigned n = 0; n < 2; ++n) {
      Operand& operand = recipe_.operands[n];
      if (operand.where != Where::kRegister || !(use.written >> operand.guest & 1)) continue;
      keep_operand(n, operand.guest);
      operand = {.where = Where::kKept};
    }
    return;
  }
  recipe_ = {};
}

// Whether flags that are there before an item may be wanted where EFLAGS can't have them any more: behind a check, or at the end.
bool Translator::flags_survive(unsigned from) const {
  for (unsigned n = from; n < count_; ++n) {
    const Item& item = items_[n];
    if (!item.good || (item.memory && item.kind != Kind::kLea && item.kind != Kind::kNothing)) return true;
    switch (item.kind) {
      case Kind::kPlain:
        if (item.writes_flags && !item.reads_flags) return false;
        break;
      case Kind::kLea:
      case Kind::kNothing:
      case Kind::kConditional: break;
      default: return true;
    }
  }
  return true;
}

void Translator::need_flags() {
  if (flags_ == Flags::kSaved) {
    need_packed();
    restore_flags();
    flags_ = Flags::kBoth;
  } else if (flags_ == Flags::kRecipe) {
    make_flags(recipe_);
    flags_ = Flags::kHost;
  }
}

void Translator::spare_flags() {
  if (flags_ == Flags::kRecipe) return;
  if (flags_ == Flags::kHost) {
    if (recipe_.known()) {
      flags_ = Flags::kRecipe;
      return;
    }
    pack();
  }
  flags_ = Flags::kSaved;
}

void Translator::store_flags() {
  if (flags_ == Flags::kHost || flags_ == Flags::kRecipe) {
    if (recipe_.known()) keep_flags(recipe_);
    else pack();
  }
  flags_ = Flags::kSaved;
}

void Translator::store_packed_flags() {
  if (flags_ == Flags::kRecipe) make_flags(recipe_);
  if (flags_ == Flags::kHost || flags_ == Flags::kRecipe) pack();
  flags_ = Flags::kSaved;
}

void Translator::pack() {
  save_flags(packed_);
  packed_ = true;
}

// Uses EFLAGS.
void Translator::need_packed() {
  if (std::exchange(packed_, true)) return;
  in_context().cmp(field32(at_.kept), 0);
  uint8_t* kept = branch(kNotZero);
  slow(Slow::What::kPack, kept, getCurr(), 0, 0);
}

}  // namespace skerry::accel::bt
