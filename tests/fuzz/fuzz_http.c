/* SPDX-License-Identifier: MIT
 *
 * http.c: a request, head and body, must get one verdict whether it comes whole or in two
 * pieces. */
#include <stdlib.h>
#include <string.h>

#include "../../http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct verdict {
    int head, body;
    size_t used, payload;
};

static void feed_body(struct http_body *b, const char *in, size_t len, struct verdict *v)
{
    size_t used, n;
    const char *piece;

    do {
        v->body = http_body_decode(b, in, len, &used, &piece, &n);
        v->used += used;
        v->payload += n;
        in += used;
        len -= used;
    } while (v->body == HTTP_NEED_MORE && len > 0);
}

/* First `split` bytes are there, then all of them. */
static struct verdict judge(const char *in, size_t len, size_t split)
{
    struct http_scan scan = {0};
    struct http_request r;
    struct http_body b;
    struct verdict v = {0};
    const char *why;
    size_t head, cut;

    v.head = http_head_scan(&scan, in, split);
    if (v.head == HTTP_NEED_MORE)
        v.head = http_head_scan(&scan, in, len);
    if (v.head <= 0)
        return v;
    head = (size_t)v.head;
    v.body = http_request_parse(&r, in, head, &why);
    if (v.body == 0)
        v.body = http_body_begin(&b, &r, 1000);
    if (v.body != 0)
        return v;
    cut = split > head ? split - head : 0;
    feed_body(&b, in + head, cut, &v);
    if (v.body == HTTP_NEED_MORE)
        feed_body(&b, in + head + cut, len - head - cut, &v);
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *in = (const char *)data;
    struct verdict whole, split;

    if (size == 0)
        return 0;
    whole = judge(in, size, size);
    split = judge(in, size, data[size / 2] * size / 256);
    if (whole.head != split.head || whole.body != split.body || whole.used != split.used ||
        whole.payload != split.payload || whole.payload > 1000)
        abort();
    return 0;
}
