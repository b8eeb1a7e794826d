// SPDX-License-Identifier: Apache-2.0
// The window, page frames, and the shootdown of other vCPUs' TLB entries.
#include "cpu.h"

extern u64 pml4[512];
static u64 window_pdpt[512] __attribute__((aligned(4096)));
static u64 window_pd[512] __attribute__((aligned(4096)));
static volatile u64 window_pt[WINDOW_PAGES] __attribute__((aligned(4096)));
static u8 frames[FRAMES][PAGE] __attribute__((aligned(4096)));

void init_paging(void) {
  pml4[WINDOW >> 39 & 511] = (u64)window_pdpt | PTE_RW;
  window_pdpt[WINDOW >> 30 & 511] = (u64)window_pd | PTE_RW;
  for (u32 i = 0; i < WINDOW_PAGES / 512; i++) window_pd[i] = (u64)&window_pt[512 * i] | PTE_RW;
}

u8 *frame(u32 number) {
  if (number >= FRAMES) die("no frame %u", number);
  return frames[number];
}
volatile u64 *pte_of(const void *address) { return &window_pt[((u64)address - WINDOW) / PAGE]; }
void invlpg(const volatile void *address) { asm volatile("invlpg (%0)" : : "r"(address) : "memory"); }
void map(const void *address, const void *to, u64 flags) {
  *pte_of(address) = (u64)to | flags;
  invlpg(address);
}
void unmap(const void *address) {
  *pte_of(address) = 0;
  invlpg(address);
}

static const void *volatile shot_address;
static volatile bool shot[MAX_CPUS];

void serve_shootdowns(void) {
  u32 me = this_cpu()->number;
  if (!shot[me]) return;
  invlpg(shot_address);
  shot[me] = false;  // the acknowledgement
}
void shootdown_arrived(struct trap *t) {
  (void)t;
  serve_shootdowns();
  eoi();
}
void shootdown(u32 n, const void *address) {
  u32 me = this_cpu()->number;
  invlpg(address);
  shot_address = address;
  for (u32 i = 0; i < n; i++) {
    if (i == me) continue;
    shot[i] = true;
    send_ipi(i, SHOOT);
  }
  for (u32 i = 0; i < n; i++) SPIN_UNTIL(!shot[i]);
}
