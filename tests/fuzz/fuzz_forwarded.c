/* SPDX-License-Identifier: MIT
 *
 * forwarded.c: whatever a client writes into the fields, the address that the proxy adds behind it
 * is the client; and where trusted proxies follow, it still is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../forwarded.h"
#include "../exact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t added[4] = {192, 0, 2, 43};
static const uint8_t trusted_bytes[4] = {10, 0, 0, 0};

/* The client of a request with one field, or with `lines` in two of them. */
static struct address ask(const char *name, const char *first, size_t first_len, const char *second,
                          enum forwarded_field field)
{
    struct address_range trusted = {address_from(trusted_bytes, 4, 0), 8};
    struct http_request r = {.field_count = second == NULL ? 1 : 2};
    char *a = exact_copy(first, first_len);
    char *b = second == NULL ? NULL : exact_copy(second, strlen(second));
    struct address client;

    r.fields[0] = (struct http_field){ws_str(name), {a, first_len}};
    if (second != NULL)
        r.fields[1] = (struct http_field){ws_str(name), {b, strlen(second)}};
    client = forwarded_client(&r, field, &trusted, 1);
    free(a);
    free(b);
    return client;
}

static void expect_added(struct address a, uint16_t port)
{
    if (a.len != 4 || memcmp(a.bytes, added, 4) != 0 || a.port != port)
        abort();
}

static void try(const char *name, const uint8_t *data, size_t size, const char *tail, uint16_t port,
                enum forwarded_field field)
{
    char *joined = malloc(size + 2 + strlen(tail));

    if (size > 0)
        memcpy(joined, data, size);
    memcpy(joined + size, ", ", 2);
    memcpy(joined + size + 2, tail, strlen(tail));
    ask(name, joined, size, NULL, field);
    expect_added(ask(name, joined, size + 2 + strlen(tail), NULL, field), port);
    expect_added(ask(name, joined, size, tail, field), port);
    free(joined);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try("X-Forwarded-For", data, size, "192.0.2.43", 0, FORWARDED_X_FOR);
    try("X-Forwarded-For", data, size, "192.0.2.43:5, 10.0.0.1", 5, FORWARDED_X_FOR);
    try("Forwarded", data, size, "for=192.0.2.43", 0, FORWARDED_STANDARD);
    try("Forwarded", data, size, "proto=http;for=\"192.0.2.43:5\";host=\"a,\\\"\", for=10.0.0.1", 5,
        FORWARDED_STANDARD);
    return 0;
}
