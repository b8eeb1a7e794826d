// Where the guest's status flags are. See docs/engine.md, "Flags".
#include "accel/bt/translator.hpp"

namespace skerry::accel::bt {

using namespace x86;
using Xbyak::Reg32;
using Xbyak::Reg64;
using Xbyak::RegExp;

// Those that instructions leave in a register's value, or that can be had once more from operands which are still there.
FlagRecipe FlagRecipe::of(const Decoded& decoded, uint32_t offset, const HostInsn& host) {
  FlagRecipe recipe;
  recipe.offset = offset;
  if (memory_operand(decoded) && decoded.operands[0].type != ZYDIS_OPERAND_TYPE_REGISTER) return recipe;
  const bool in_memory = memory_operand(decoded);
  const ZydisDecodedOperand& target = decoded.operands[0];
  if (target.type != ZYDIS_OPERAND_TYPE_REGISTER) return recipe;
  const auto number = general_register(target.reg.value);
  if (!number) return recipe;
  recipe.target = *number;
  recipe.size = target.size / 8u;
  recipe.registers = register_use(decoded).all;
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
      if (in_memory) return recipe;
      recipe.how = How::kAgain;
      recipe.host = host;
      recipe.homed = homed_use(decoded);
      return recipe;
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
      if (target.reg.value >= ZYDIS_REGISTER_AH && target.reg.value <= ZYDIS_REGISTER_BH) return recipe;
      recipe.how = How::kResult;
      recipe.registers = static_cast<uint16_t>(1u << recipe.target);
      return recipe;
    case ZYDIS_MNEMONIC_NEG:
      if (recipe.size >= 4) recipe.how = How::kNegated;
      return recipe;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB: break;
    default: return recipe;
  }
  if (in_memory || recipe.size < 4) return recipe;
  const ZydisDecodedOperand& source = decoded.operands[1];
  if (source.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    recipe.immediate = static_cast<int32_t>(source.imm.value.s);
  } else {
    recipe.source = static_cast<int>(general_register(source.reg.value).value_or(recipe.target));
    if (recipe.source == static_cast<int>(recipe.target)) return recipe;
  }
  recipe.how = decoded.instruction.mnemonic == ZYDIS_MNEMONIC_ADD ? How::kAdded : How::kSubtracted;
  return recipe;
}

// Into EFLAGS. Uses both scratch registers.
void Translator::make_flags(const FlagRecipe& recipe) {
  using How = FlagRecipe::How;
  held_ = -1;
  if (recipe.how == How::kAgain) {
    for (unsigned n = 0; n < recipe.homed.count; ++n) load_guest(Reg64(n == 0 ? kSecond : kFirst), recipe.homed.guest[n]);
    return put(recipe.host.code());
  }
  if (recipe.how == How::kResult) {
    if (is_homed(recipe.target)) load_guest(second_, recipe.target);
    const Xbyak::Reg value = sized(is_homed(recipe.target) ? kSecond : host_register(recipe.target), recipe.size);
    return test(value, value);
  }
  load_guest(first_, recipe.target);
  const Xbyak::Reg value = sized(kFirst, recipe.size);
  if (recipe.how == How::kNegated) {
    neg(value);
    return neg(value);
  }
  const bool added = recipe.how == How::kAdded;
  if (recipe.source < 0) {
    added ? sub(value, static_cast<uint32_t>(recipe.immediate)) : add(value, static_cast<uint32_t>(recipe.immediate));
    added ? add(value, static_cast<uint32_t>(recipe.immediate)) : sub(value, static_cast<uint32_t>(recipe.immediate));
    return;
  }
  const auto guest = static_cast<unsigned>(recipe.source);
  if (is_homed(guest)) load_guest(second_, guest);
  const Xbyak::Reg source = sized(is_homed(guest) ? kSecond : host_register(guest), recipe.size);
  added ? sub(value, source) : add(value, source);
  added ? add(value, source) : sub(value, source);
}

// Of an instruction that is about to be written: from what it overwrites no flags can be made any more. One that overwrites all
// flags too needs them no longer than it needs its operands.
void Translator::keep_recipe(const RegisterUse& use, bool overwrites_flags) {
  if (overwrites_flags || !(use.written & recipe_.registers)) return;
  if (flags_ == Flags::kRecipe) store_flags();
  recipe_.how = FlagRecipe::How::kNone;
}

void Translator::need_flags() {
  if (flags_ == Flags::kSaved) {
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
    if (options_.lazy_flags && recipe_.how != FlagRecipe::How::kNone) {
      flags_ = Flags::kRecipe;
      return;
    }
    save_flags();
  }
  flags_ = Flags::kSaved;
}

void Translator::store_flags() {
  if (flags_ == Flags::kRecipe) make_flags(recipe_);
  if (flags_ == Flags::kHost || flags_ == Flags::kRecipe) save_flags();
  flags_ = Flags::kSaved;
}

}  // namespace skerry::accel::bt
