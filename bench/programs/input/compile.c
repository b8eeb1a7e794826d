// What gcc -O2 is given: containers for several types out of macros, a tokenizer, an interpreter, a compressor.
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEQUENCE(type, name)                                                                      \
  struct name {                                                                                   \
    type* items;                                                                                  \
    size_t count, room;                                                                           \
  };                                                                                              \
  int name##_add(struct name* all, type item) {                                                   \
    if (all->count == all->room) {                                                                \
      size_t room = all->room ? 2 * all->room : 16;                                               \
      type* items = realloc(all->items, room * sizeof *items);                                    \
      if (!items) return -1;                                                                      \
      all->items = items;                                                                         \
      all->room = room;                                                                           \
    }                                                                                             \
    all->items[all->count++] = item;                                                              \
    return 0;                                                                                     \
  }                                                                                               \
  static void name##_sift(struct name* all, size_t at, size_t count) {                            \
    type value = all->items[at];                                                                  \
    for (size_t child; (child = 2 * at + 1) < count; at = child) {                                \
      if (child + 1 < count && all->items[child] < all->items[child + 1]) ++child;                \
      if (value >= all->items[child]) break;                                                      \
      all->items[at] = all->items[child];                                                         \
    }                                                                                             \
    all->items[at] = value;                                                                       \
  }                                                                                               \
  void name##_sort(struct name* all) {                                                            \
    for (size_t i = all->count / 2; i-- > 0;) name##_sift(all, i, all->count);                    \
    for (size_t count = all->count; count-- > 1;) {                                               \
      type greatest = all->items[0];                                                              \
      all->items[0] = all->items[count];                                                          \
      all->items[count] = greatest;                                                               \
      name##_sift(all, 0, count);                                                                 \
    }                                                                                             \
  }                                                                                               \
  size_t name##_find(const struct name* all, type item) {                                         \
    size_t low = 0, high = all->count;                                                            \
    while (low < high) {                                                                          \
      size_t middle = low + (high - low) / 2;                                                     \
      if (all->items[middle] < item) low = middle + 1;                                            \
      else high = middle;                                                                         \
    }                                                                                             \
    return low;                                                                                   \
  }                                                                                               \
  type name##_sum(const struct name* all) {                                                       \
    type sum = 0;                                                                                 \
    for (size_t i = 0; i < all->count; ++i) sum += all->items[i] * (type)(i % 7);                 \
    return sum;                                                                                   \
  }                                                                                               \
  void name##_multiply(type* restrict c, const type* restrict a, const type* restrict b, int n) { \
    for (int i = 0; i < n; ++i)                                                                   \
      for (int j = 0; j < n; ++j) {                                                               \
        type sum = 0;                                                                             \
        for (int k = 0; k < n; ++k) sum += a[i * n + k] * b[k * n + j];                           \
        c[i * n + j] = sum;                                                                       \
      }                                                                                           \
  }

SEQUENCE(int8_t, bytes)
SEQUENCE(uint16_t, shorts)
SEQUENCE(int32_t, ints)
SEQUENCE(uint32_t, words)
SEQUENCE(int64_t, longs)
SEQUENCE(uint64_t, doublewords)
SEQUENCE(float, floats)
SEQUENCE(double, doubles)

// Expressions, by precedence
enum kind { END, NUMBER, NAME, OPERATOR, OPEN, CLOSE, WRONG };
struct token {
  enum kind kind;
  int64_t value;
  char name[16];
};
struct parser {
  const char* at;
  struct token token;
  int64_t variables[26];
  int failed;
};

static void next_token(struct parser* parser) {
  const char* at = parser->at;
  struct token* token = &parser->token;
  while (isspace((unsigned char)*at)) ++at;
  token->kind = WRONG;
  if (!*at) {
    token->kind = END;
  } else if (isdigit((unsigned char)*at)) {
    char* end;
    token->value = strtoll(at, &end, 0);
    token->kind = NUMBER;
    at = end;
  } else if (isalpha((unsigned char)*at)) {
    size_t length = 0;
    while (isalnum((unsigned char)*at) && length < sizeof token->name - 1) token->name[length++] = *at++;
    token->name[length] = 0;
    token->kind = NAME;
  } else if (strchr("+-*/%&|^<>=!", *at)) {
    token->value = *at++;
    if (*at == '=' || ((token->value == '<' || token->value == '>') && *at == token->value)) {
      token->value = token->value << 8 | (unsigned char)*at++;
    }
    token->kind = OPERATOR;
  } else if (*at == '(' || *at == ')') {
    token->kind = *at++ == '(' ? OPEN : CLOSE;
  }
  parser->at = at;
}

static int precedence_of(int64_t operator) {
  switch (operator) {
    case '*': case '/': case '%': return 10;
    case '+': case '-': return 9;
    case '<' << 8 | '<': case '>' << 8 | '>': return 8;
    case '<': case '>': case '<' << 8 | '=': case '>' << 8 | '=': return 7;
    case '=' << 8 | '=': case '!' << 8 | '=': return 6;
    case '&': return 5;
    case '^': return 4;
    case '|': return 3;
    default: return 0;
  }
}

static int64_t apply(struct parser* parser, int64_t operator, int64_t left, int64_t right) {
  switch (operator) {
    case '*': return left * right;
    case '/': if (right == 0) parser->failed = 1; return right ? left / right : 0;
    case '%': if (right == 0) parser->failed = 1; return right ? left % right : 0;
    case '+': return left + right;
    case '-': return left - right;
    case '<' << 8 | '<': return left << (right & 63);
    case '>' << 8 | '>': return left >> (right & 63);
    case '<': return left < right;
    case '>': return left > right;
    case '<' << 8 | '=': return left <= right;
    case '>' << 8 | '=': return left >= right;
    case '=' << 8 | '=': return left == right;
    case '!' << 8 | '=': return left != right;
    case '&': return left & right;
    case '^': return left ^ right;
    case '|': return left | right;
    default: parser->failed = 1; return 0;
  }
}

static int64_t expression(struct parser* parser, int weakest);

static int64_t operand(struct parser* parser) {
  struct token token = parser->token;
  next_token(parser);
  switch (token.kind) {
    case NUMBER: return token.value;
    case NAME: return islower((unsigned char)token.name[0]) ? parser->variables[token.name[0] - 'a'] : (int64_t)strlen(token.name);
    case OPEN: {
      int64_t value = expression(parser, 1);
      if (parser->token.kind != CLOSE) parser->failed = 1;
      next_token(parser);
      return value;
    }
    case OPERATOR:
      if (token.value == '-') return -operand(parser);
      if (token.value == '!') return !operand(parser);
      // fall through
    default: parser->failed = 1; return 0;
  }
}

static int64_t expression(struct parser* parser, int weakest) {
  int64_t left = operand(parser);
  while (parser->token.kind == OPERATOR && precedence_of(parser->token.value) >= weakest && !parser->failed) {
    int64_t operator = parser->token.value;
    next_token(parser);
    left = apply(parser, operator, left, expression(parser, precedence_of(operator) + 1));
  }
  return left;
}

int64_t evaluate(const char* text, const int64_t variables[26], int* failed) {
  struct parser parser = {.at = text};
  memcpy(parser.variables, variables, sizeof parser.variables);
  next_token(&parser);
  int64_t value = expression(&parser, 1);
  *failed = parser.failed || parser.token.kind != END;
  return value;
}

// A small machine
#define OPERATIONS(X) X(add, +) X(subtract, -) X(multiply, *) X(both, &) X(either, |) X(differ, ^) X(less, <) X(equal, ==)
enum operation {
#define OPERATION(name, operator) MACHINE_##name,
  OPERATIONS(OPERATION)
#undef OPERATION
  MACHINE_load, MACHINE_store, MACHINE_jump, MACHINE_stop
};
int64_t execute(const uint32_t* code, size_t count, int64_t* memory, size_t cells) {
  int64_t registers[16] = {0};
  for (size_t at = 0; at < count; ++at) {
    uint32_t word = code[at];
    int64_t *to = &registers[word >> 8 & 15], left = registers[word >> 12 & 15], right = registers[word >> 16 & 15];
    switch ((enum operation)(word & 255)) {
#define OPERATION(name, operator) case MACHINE_##name: *to = left operator right; break;
      OPERATIONS(OPERATION)
#undef OPERATION
      case MACHINE_load: *to = memory[(uint64_t)(left + right) % cells]; break;
      case MACHINE_store: memory[(uint64_t)(left + right) % cells] = *to; break;
      case MACHINE_jump: if (*to) at = (size_t)(word >> 20) % count; break;
      case MACHINE_stop: return *to;
    }
  }
  return registers[0];
}

// Repetitions within the last 64 KiB
size_t compress(const uint8_t* from, size_t count, uint8_t* to, size_t room) {
  static uint32_t last[1 << 14];
  memset(last, 0xFF, sizeof last);
  size_t used = 0, at = 0, literals = 0;
  while (at + 4 <= count) {
    uint32_t four;
    memcpy(&four, from + at, 4);
    uint32_t* entry = &last[four * 2654435761u >> 18];
    size_t before = *entry;
    *entry = (uint32_t)at;
    size_t length = 0;
    if (before < at && at - before < 65536) {
      while (at + length < count && length < 255 && from[before + length] == from[at + length]) ++length;
    }
    if (length < 4) {
      ++at;
      if (++literals < 255) continue;
      length = 0;
    }
    if (used + literals + 5 > room) return 0;
    to[used++] = (uint8_t)literals;
    memcpy(to + used, from + at - literals, literals);
    used += literals;
    literals = 0;
    to[used++] = (uint8_t)length;
    if (length) {
      to[used++] = (uint8_t)(at - before);
      to[used++] = (uint8_t)((at - before) >> 8);
      at += length;
    }
  }
  return used;
}

int main(int count, char** arguments) {
  int64_t variables[26] = {0};
  struct longs values = {0};
  for (int i = 1; i < count; ++i) {
    int failed;
    variables[i % 26] = evaluate(arguments[i], variables, &failed);
    if (failed || longs_add(&values, variables[i % 26]) != 0) return 1;
  }
  longs_sort(&values);
  printf("%lld %zu\n", (long long)longs_sum(&values), longs_find(&values, 17));
  return 0;
}
