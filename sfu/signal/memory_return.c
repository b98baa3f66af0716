// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/memory_return.h"

#include "common/base/mem.h"

void memory_return_joined(struct memory_return *m, size_t count)
{
    m->most = MAX(m->most, count);
}

bool memory_return_is_worth_it(const struct memory_return *m, size_t count)
{
    return m->most >= MEMORY_RETURN_PEOPLE_MIN && count <= m->most / 2;
}

void memory_return_run(struct memory_return *m, size_t count)
{
    if (memory_return_is_worth_it(m, count)) {
        mem_give_back();
        m->most = count;
    }
}
