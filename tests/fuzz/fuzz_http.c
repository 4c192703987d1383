/* SPDX-License-Identifier: MIT
 *
 * http.c: a request, head and body, must get one verdict whether it comes whole or in two pieces.
 * What is accepted is judged again, by rules written down here anew: another server in front of
 * this one must not read it in another way (RFC 9112 §11.2). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

/* --- the second reader ------------------------------------------------------------------------ */

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* RFC 9110 §5.6.2 */
static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] == 127 || strchr("\"(),/:;<=>?@[\\]{}", text[i]) != NULL)
            return false;
    return len > 0;
}

/* What the fields of a head say of the body. */
struct fields {
    size_t count, hosts, lengths, codings;
    struct ws_str length; /* the last of them */
};

static bool is_named(struct ws_str name, const char *wanted)
{
    return name.len == strlen(wanted) && strncasecmp(name.data, wanted, name.len) == 0;
}

/* Or nothing, in another field: in a list members may be empty, RFC 9110 §5.6.1.2. */
static bool is_chunked_alone(struct ws_str list)
{
    while (list.len > 0 && strchr(", \t", list.data[0]) != NULL) {
        list.data++;
        list.len--;
    }
    while (list.len > 0 && strchr(", \t", list.data[list.len - 1]) != NULL)
        list.len--;
    return list.len == 0 || is_named(list, "chunked");
}

static void count_field(struct fields *f, struct ws_str name, struct ws_str value)
{
    f->count++;
    f->hosts += is_named(name, "Host");
    if (is_named(name, "Content-Length")) {
        f->lengths++;
        f->length = value;
    } else if (is_named(name, "Transfer-Encoding")) {
        f->codings++;
        CHECK(is_chunked_alone(value));
    }
}

/* One line "name: value". */
static void read_field(struct fields *f, const char *line, const char *end,
                       const struct http_field *field)
{
    const char *colon = memchr(line, ':', (size_t)(end - line));
    const char *value;

    CHECK(colon != NULL && is_token(line, (size_t)(colon - line)));
    for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
        continue;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    CHECK(field->name.data == line && field->name.len == (size_t)(colon - line));
    CHECK(field->value.len == (size_t)(end - value));
    CHECK(field->value.len == 0 || field->value.data == value);
    count_field(f, field->name, field->value);
}

/* RFC 9112 §6.3: one field alone says where the body ends. */
static void check_framing(const struct http_request *r, const struct fields *f)
{
    uint64_t length = 0;

    CHECK(f->hosts <= 1 && (f->hosts == 1 || r->minor == 0));
    CHECK(f->lengths == 0 || f->codings == 0);
    CHECK((r->framing == HTTP_BODY_CHUNKED) == (f->codings > 0));
    CHECK(f->codings == 0 || r->minor == 1);
    if (r->framing != HTTP_BODY_LENGTH)
        return;
    CHECK(f->lengths == 1 && f->length.len > 0);
    for (size_t i = 0; i < f->length.len; i++) {
        CHECK(f->length.data[i] >= '0' && f->length.data[i] <= '9');
        CHECK(length <= (UINT64_MAX - 9) / 10);
        length = length * 10 + (uint64_t)(f->length.data[i] - '0');
    }
    CHECK(length == r->content_length);
}

/* "method target version" */
static void check_request_line(const struct http_request *r, const char *line, const char *end)
{
    CHECK(r->method.data == line && is_token(line, r->method.len));
    CHECK(line[r->method.len] == ' ' && r->target.data == line + r->method.len + 1);
    CHECK(memchr(r->target.data, ' ', r->target.len) == NULL);
    CHECK(memcmp(r->target.data + r->target.len, " HTTP/1.", 8) == 0);
    CHECK(end == r->target.data + r->target.len + 9);
}

/* Every line ends with CRLF, and has no other control character but HTAB. */
static void check_head(const struct http_request *r, const char *in, size_t len)
{
    const char *line = in;
    const char *end = in + len;
    struct fields f = {0};

    while (line[0] == '\r')
        line += 2; /* empty lines before the request */
    for (bool first = true; line[0] != '\r'; first = false) {
        const char *next = memchr(line, '\r', (size_t)(end - line));

        CHECK(next != NULL && next + 1 < end && next[1] == '\n');
        for (const char *p = line; p < next; p++)
            CHECK(((unsigned char)*p >= ' ' && *p != 127) || *p == '\t');
        if (first) {
            check_request_line(r, line, next);
        } else {
            CHECK(f.count < r->field_count);
            read_field(&f, line, next, &r->fields[f.count]);
        }
        line = next + 2;
    }
    CHECK(line + 2 == end && line[1] == '\n' && f.count == r->field_count);
    check_framing(r, &f);
}

static void check_accepted(const char *in, size_t len)
{
    struct http_scan scan = {0};
    struct http_request r;
    const char *why;
    int head = http_head_scan(&scan, in, len);

    if (head > 0 && http_request_parse(&r, in, (size_t)head, &why) == 0)
        check_head(&r, in, (size_t)head);
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
    check_accepted(in, size);
    return 0;
}
