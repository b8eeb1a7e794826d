// SPDX-License-Identifier: Apache-2.0
// Between the files of the runtime.
#pragma once

#include "rt.h"

void start_cpus(void);
void init_paging(void);
handler shootdown_arrived;
