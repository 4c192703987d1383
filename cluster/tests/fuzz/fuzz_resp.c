/* SPDX-License-Identifier: MIT
 *
 * resp.c: any bytes are replies, or an error. It is the same whether they come at once or one by
 * one; slices lie in the bytes that came; limits hold. */
#include <stdlib.h>
#include <string.h>

#include "../../resp.h"

enum { MAX_BYTES = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check_values(const struct resp_reader *r, const char *reply, size_t len)
{
    require(r->count > 0 && r->count <= RESP_VALUES && r->count <= r->elements);
    require(r->elements <= RESP_ELEMENTS_MAX);
    require(r->values[0].depth == 0);
    for (size_t i = 0; i < r->count; i++) {
        const struct resp_value *v = &r->values[i];
        size_t at = (size_t)(v->text.data - reply);

        require(v->depth < RESP_DEPTH_MAX + 1 && (i == 0 || v->depth > 0));
        require(v->type != RESP_PUSH || i == 0);
        if (v->type < RESP_ARRAY)
            require(at <= len && v->text.len <= len - at);
    }
}

/* The same reply byte by byte. */
static void check_bytewise(const struct resp_reader *whole, const char *reply, size_t len,
                           ptrdiff_t result)
{
    struct resp_reader r = {.max_bytes = MAX_BYTES};
    ptrdiff_t n = 0;

    for (size_t there = 0; there <= len && n == 0; there++)
        n = resp_read(&r, reply, there);
    require(n == result);
    if (n <= 0)
        return;
    require(r.count == whole->count && r.elements == whole->elements);
    for (size_t i = 0; i < r.count; i++) {
        require(r.values[i].type == whole->values[i].type);
        require(r.values[i].number == whole->values[i].number);
        require(r.values[i].text.data == whole->values[i].text.data);
        require(r.values[i].text.len == whole->values[i].text.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct resp_reader r = {.max_bytes = MAX_BYTES};
    const char *at = (const char *)data;

    for (ptrdiff_t n = 1; n > 0 && size > 0; at += n, size -= (size_t)n) {
        n = resp_read(&r, at, size);
        if (n > 0)
            check_values(&r, at, (size_t)n);
        if (size < 4096)
            check_bytewise(&r, at, size, n);
        if (n <= 0)
            break;
    }
    return 0;
}
