// SPDX-License-Identifier: Apache-2.0
// Code that one vCPU writes and another executes. Intel SDM vol. 3, 8.1.3: the executing processor waits for a flag, runs
// a serializing instruction (8.3), and then sees the new code.
#include "rt.h"

#define X WIN(300)
#define W WIN(310)  // an alias of X
enum { CODE_FRAME = 100 };

static void map_code(void) {
  for (u32 i = 0; i < 2; i++) {
    map(X + i * PAGE, frame(CODE_FRAME + 2 * i), PTE_RW);
    map(W + i * PAGE, frame(CODE_FRAME + 2 * i), PTE_RW);
  }
}
static void put_function(u8 *at, u32 value) {
  at[0] = 0xb8;  // mov $value, %eax; ret
  memcpy(at + 1, &value, 4);
  at[5] = 0xc3;
}
static u32 call(const u8 *at) { return ((u32(*)(void))at)(); }

// ---------------------------------------------------------------------------------------------
// Flag, serializing instruction, call. Everything may change in place, as nobody executes it meanwhile.

static void by_cpuid(void) { cpuid_serialize(); }
static void by_iret(void) {
  asm volatile("mov %%rsp, %%rax; push $0x10; push %%rax; pushfq; push $8; lea 1f(%%rip), %%rax; push %%rax; iretq; 1:"
               : : : "rax", "memory", "cc");
}
static void by_cr3(void) { write_cr3(read_cr3()); }
static void by_invlpg(void) { invlpg(WIN(2000)); }
static void by_dr(void) {
  u64 v;
  asm volatile("mov %%dr7, %0; mov %0, %%dr7" : "=r"(v) : : "memory");
}

static void (*serialize)(void);
static u8 *execute_at, *write_at;
static volatile u64 written, executed;

static void writer(void) {
  for (u64 i = 1; i <= rounds / 50 && !failed(); i++) {
    put_function(write_at, i * 0x01010101);
    written = i;
    SPIN_UNTIL(executed == i || failed());
  }
}
static void executor(void) {
  for (u64 i = 1; i <= rounds / 50 && !failed(); i++) {
    SPIN_UNTIL(written == i || failed());
    serialize();
    for (u32 j = 0; j < 3; j++) {
      u32 is = call(execute_at);
      if (is != (u32)(i * 0x01010101)) return fail("round %lu: executed %x", i, is);
    }
    executed = i;
  }
}
static void write_and_execute(u32 me) {
  barrier(2);
  if (me == 0) writer();
  else executor();
}
static void run_flag(u64 offset, u8 *write, void (*how)(void)) {
  map_code();
  execute_at = X + offset;
  write_at = write + offset;
  serialize = how;
  put_function(write_at, 0);
  run_on(2, write_and_execute);
}
CASE(cpuid, "cross.cpuid", 2) { run_flag(0x100, X, by_cpuid); }
CASE(iret, "cross.iret", 2) { run_flag(0x100, X, by_iret); }
CASE(cr3, "cross.mov-cr3", 2) { run_flag(0x100, X, by_cr3); }
CASE(invlpg, "cross.invlpg", 2) { run_flag(0x100, X, by_invlpg); }
CASE(dr, "cross.mov-dr", 2) { run_flag(0x100, X, by_dr); }
CASE(alias, "cross.alias", 2) { run_flag(0x100, W, by_cpuid); }
CASE(page, "cross.across-page", 2) { run_flag(PAGE - 3, X, by_cpuid); }
CASE(alias_page, "cross.alias-across-page", 2) { run_flag(PAGE - 3, W, by_iret); }

// Functions that go through a queue, each at a new place: a compiler thread and the thread that runs what it made
enum { QUEUE = 32 };
static u8 *volatile queue[QUEUE];
static volatile u64 made, run;
static void producer(void) {
  struct random r = random_stream(0);
  for (u64 i = 0; i < rounds / 10 && !failed(); i++) {
    SPIN_UNTIL(made - run < QUEUE || failed());
    u8 *at = X + i % QUEUE * 192 + below(&r, 180);
    put_function(at, i);
    queue[i % QUEUE] = at;
    made = i + 1;
  }
}
static void consumer(void) {
  for (u64 i = 0; i < rounds / 10 && !failed(); i++) {
    SPIN_UNTIL(made > i || failed());
    cpuid_serialize();
    u32 is = call(queue[i % QUEUE]);
    if (is != (u32)i) return fail("round %lu: executed %x", i, is);
    run = i + 1;
  }
}
static void produce_and_consume(u32 me) {
  barrier(2);
  if (me == 0) producer();
  else consumer();
}
CASE(queue, "cross.queue", 2) {
  map_code();
  run_on(2, produce_and_consume);
}

// ---------------------------------------------------------------------------------------------
// An interrupt is serializing on its way back (IRET). The other vCPU is caught in a loop of one jump, which becomes two
// NOPs by one store.

static volatile u64 caught, released;
#define ENDLESS (X + 0x200)
static void make_endless(void) {
  *(volatile u16 *)ENDLESS = 0xfeeb;  // 1: jmp 1b
  ENDLESS[2] = 0xc3;
}
static void catch_and_release(u32 me) {
  barrier(2);
  for (u64 i = 1; i <= rounds / 100; i++) {
    if (me == 0) {
      SPIN_UNTIL(caught == i);
      for (u32 spin = 0; spin < 20; spin++) pause();
      *(volatile u16 *)ENDLESS = 0x9090;
      if (handlers[SYNC]) send_ipi(1, SYNC);
      SPIN_UNTIL(released == i);
    } else {
      make_endless();
      cpuid_serialize();
      caught = i;
      call(ENDLESS);
      released = i;
    }
  }
}
static void take_ipi(struct trap *t) {
  (void)t;
  eoi();
}
CASE(endless_ipi, "cross.endless-loop-ipi", 2) {
  map_code();
  handlers[SYNC] = take_ipi;
  run_on(2, catch_and_release);
}
// The same with no interrupt: instruction caches are coherent, so the loop ends sooner or later (not in the manual's words;
// every processor and QEMU do it)
CASE(endless, "cross.endless-loop", 2) {
  map_code();
  run_on(2, catch_and_release);
}
// A loop that looks at memory, which is data for one vCPU and beside code of the other
static void flag_loop(u32 me) {
  volatile u32 *flag = (volatile u32 *)(X + 0x300);
  barrier(2);
  for (u64 i = 1; i <= rounds / 50; i++) {
    if (me == 0) {
      SPIN_UNTIL(caught == i);
      *flag = i;
      SPIN_UNTIL(released == i);
    } else {
      caught = i;
      asm volatile("call *%0" : : "r"(ENDLESS), "D"(flag), "S"((u32)i) : "memory", "cc");
      released = i;
    }
  }
}
CASE(flag_loop, "cross.flag-beside-code", 2) {
  static const u8 loop[] = {0x39, 0x37, 0x75, 0xfc, 0xc3};  // 1: cmp %esi, (%rdi); jne 1b; ret
  map_code();
  memcpy(ENDLESS, loop, sizeof loop);
  run_on(2, flag_loop);
}

// ---------------------------------------------------------------------------------------------
// Patching under way, as Linux does it (text_poke_bp): INT3 on the first byte, everyone serializes, the other bytes,
// everyone serializes, the first byte. Who runs into the INT3 meanwhile does what the instruction did or will do.

static u8 *patched;
static volatile u32 poke_old, poke_new;  // values of the instruction before and after
static volatile u64 synced, breakpoints;
static volatile bool stop;

static void sync_arrived(struct trap *t) {
  (void)t;
  synced++;
  eoi();
}
static void breakpoint(struct trap *t) {
  if (t->rip != (u64)patched + 1) die("#BP at %lx", t->rip);
  __atomic_add_fetch(&breakpoints, 1, __ATOMIC_RELAXED);
  t->r.rax = poke_new;  // mov $value, %eax
  t->rip = (u64)patched + 5;
}
static void sync_others(void) {
  u64 before = synced;
  send_ipi(1, SYNC);
  SPIN_UNTIL(synced > before);
}
static void poke(u32 value) {
  poke_new = value;
  *(volatile u8 *)patched = 0xcc;
  sync_others();
  for (u32 i = 0; i < 4; i++) *(volatile u8 *)(patched + 1 + i) = value >> 8 * i;
  sync_others();
  *(volatile u8 *)patched = 0xb8;
  sync_others();
  poke_old = value;
}
static void poke_while_running(u32 me) {
  barrier(2);
  if (me == 0) {
    struct random r = random_stream(0);
    for (u64 i = 1; i <= rounds / 100 && i < 65536 && !failed(); i++) {
      poke(i * 0x10001);
      for (u64 spin = below(&r, 100); spin; spin--) pause();
    }
    stop = true;
    return;
  }
  while (!stop) {
    u32 before = poke_old, is = call(patched), after = poke_new;
    // between the two it may be either, or one of those that came between
    u32 n = is / 0x10001;
    if (is % 0x10001 || n < before / 0x10001 || n > after / 0x10001) return fail("executed %x; between %x and %x", is, before, after);
  }
}
static void run_poke(u64 offset) {
  map_code();
  patched = X + offset;
  put_function(patched, 0);
  handlers[SYNC] = sync_arrived;
  handlers[BP] = breakpoint;
  run_on(2, poke_while_running);
  note("%lu breakpoints", breakpoints);
}
CASE(int3, "cross.int3", 2) { run_poke(0x100); }
CASE(int3_page, "cross.int3-across-page", 2) { run_poke(PAGE - 2); }

// ---------------------------------------------------------------------------------------------
// No change of what the others execute, but in the same page

// Each vCPU changes and calls a function of its own
static void own_function(u32 me) {
  u8 *at = X + 0x100 + 16 * me;
  put_function(at, 0);
  barrier(cpus);
  for (u64 i = 0; i < rounds / 20; i++) {
    *(volatile u32 *)(at + 1) = i;
    u32 is = call(at);
    if (is != i) return fail("vCPU %u: %x, not %lx", me, is, i);
  }
}
CASE(own, "cross.own-functions-in-a-page", 4) {
  map_code();
  run_on(cpus, own_function);
}
// One vCPU counts in a page in which the others execute
static void data_and_code(u32 me) {
  volatile u64 *data = (volatile u64 *)(X + 0x800);
  barrier(cpus);
  if (me == 0) {
    for (u64 i = 0; i < rounds; i++) asm volatile("lock incq %0; incq 8%0" : "+m"(*data) : : "memory", "cc");
    stop = true;
    CHECK(data[0] == rounds && data[1] == rounds, "%lu and %lu, not %lu", data[0], data[1], rounds);
    return;
  }
  for (u64 n = 0; !stop; n++) {
    u32 is = call(X + 0x100 + 16 * me);
    if (is != 1000 + me) return fail("vCPU %u: %x", me, is);
  }
}
CASE(data_and_code, "cross.data-beside-code", 3) {
  map_code();
  for (u32 i = 0; i < cpus; i++) put_function(X + 0x100 + 16 * i, 1000 + i);
  run_on(cpus, data_and_code);
}
// One stores the bytes that are there already, others execute them
static void same_bytes(u32 me) {
  u8 *at = X + 0x100;
  barrier(cpus);
  if (me == 0) {
    for (u64 i = 0; i < rounds / 4; i++) *(volatile u32 *)(at + 1) = 4242;
    stop = true;
    return;
  }
  while (!stop) {
    u32 is = call(at);
    if (is != 4242) return fail("vCPU %u: %x", me, is);
  }
}
CASE(same_bytes, "cross.same-bytes", 3) {
  map_code();
  put_function(X + 0x100, 4242);
  run_on(cpus, same_bytes);
}
// An aligned value changes under a vCPU that executes it in a loop: it sees old or new values, nothing in between, and
// the last one in the end (the manual leaves this to the model; all there are do it, and kernels count on it)
static void hot_value(u32 me) {
  u8 *at = X + 0x107;  // its value at 108
  barrier(cpus);
  if (me == 0) {
    for (u64 i = 1; i <= rounds / 4; i++) *(volatile u32 *)(at + 1) = (i & 0xffff) * 0x10001;
    stop = true;
    return;
  }
  while (!stop) {
    u32 is = call(at);
    if ((is >> 16) != (is & 0xffff)) return fail("vCPU %u: %x", me, is);
  }
  cpuid_serialize();
  u32 is = call(at), wanted = (rounds / 4 & 0xffff) * 0x10001;
  CHECK(is == wanted, "vCPU %u: %x in the end, not %x", me, is, wanted);
}
CASE(hot_value, "cross.hot-value", 3) {
  map_code();
  put_function(X + 0x107, 0);
  run_on(cpus, hot_value);
}
