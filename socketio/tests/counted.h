/* SPDX-License-Identifier: MIT
 *
 * An account for unit tests of what counts its memory in one: a server whose loop does not run. */
#ifndef COUNTED_H
#define COUNTED_H

#include <stddef.h>

#include "../../ws.h"

struct counted {
    struct ws_server *ws;
    struct ws_account *account;
    size_t before; /* bytes in use of max_memory */
};

static inline void counted_begin(struct counted *c, size_t max_memory)
{
    c->ws = ws_server_new(&(struct ws_options){.max_memory = max_memory});
    assert_non_null(c->ws);
    c->account = ws_account_new(c->ws, NULL);
    assert_non_null(c->account);
    c->before = ws_server_stats(c->ws).buffered;
}

static inline size_t counted_used(const struct counted *c)
{
    return ws_server_stats(c->ws).buffered - c->before;
}

static inline void counted_end(struct counted *c)
{
    assert_int_equal(counted_used(c), 0);
    ws_account_release(c->account);
    ws_server_free(c->ws);
}

#endif
