/* SPDX-License-Identifier: MIT
 *
 * Texts with an ETag; see minnow_static.h. */
#include "minnow_static.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEADERS_MAX = 8 };

static const char methods[] = "GET, HEAD, OPTIONS";

void minnow_static_error(struct ws_conn *c, int status, const char *text)
{
    const struct ws_header headers[] = {
        {ws_str("Content-Type"), ws_str("text/plain; charset=utf-8")},
        {ws_str("X-Content-Type-Options"), ws_str("nosniff")},
        {ws_str("Allow"), ws_str(methods)},
    };

    ws_respond(c, status, headers, status == 405 ? 3 : 2, text, strlen(text));
}

/* Answer OPTIONS, which clients use to test the server and to ask for the allowed methods, RFC 9110
 * §9.3.7. */
static void respond_options(struct ws_conn *c)
{
    const struct ws_header allow = {ws_str("Allow"), ws_str(methods)};

    ws_respond(c, 204, &allow, 1, NULL, 0);
}

/* Is `etag` in `list`? The comparison is weak: a W/ in front is ignored. The list ends at the first
 * text that is no entity tag, since a comma may be inside the quotes. RFC 9110 §8.8.3, §13.1.2 */
static bool etag_listed(struct ws_str list, const char *etag)
{
    const char *at = list.data;
    const char *end = list.data + list.len;
    const char *quote;
    size_t etag_len = strlen(etag);

    while (at < end) {
        if (*at == ',' || *at == ' ' || *at == '\t') {
            at++;
            continue;
        }
        if (end - at >= 2 && at[0] == 'W' && at[1] == '/')
            at += 2;
        quote = at < end && *at == '"' ? memchr(at + 1, '"', (size_t)(end - at - 1)) : NULL;
        if (quote == NULL)
            return false;
        if ((size_t)(quote + 1 - at) == etag_len && memcmp(at, etag, etag_len) == 0)
            return true;
        at = quote + 1;
    }
    return false;
}

/* Does the client have the text as it is? Fields of the same name are one list. */
static bool is_fresh(const struct ws_request *req, const char *etag)
{
    struct ws_header h;

    for (size_t i = 0; ws_request_header_at(req, i, &h); i++) {
        if (h.name.len == strlen("If-None-Match") &&
            strncasecmp(h.name.data, "If-None-Match", h.name.len) == 0 &&
            (ws_str_is(h.value, "*") || etag_listed(h.value, etag)))
            return true;
    }
    return false;
}

static void respond(const struct minnow_static *s, struct ws_conn *c, const struct ws_request *req,
                    const struct ws_header *more, size_t count, const char *type)
{
    struct ws_header headers[HEADERS_MAX] = {
        {ws_str("ETag"), ws_str(s->etag)},
        {ws_str("X-Content-Type-Options"), ws_str("nosniff")},
    };
    size_t n = 2;

    assert(count + 3 <= HEADERS_MAX);
    for (size_t i = 0; i < count; i++)
        headers[n++] = more[i];
    if (is_fresh(req, s->etag)) {
        ws_respond(c, 304, headers, n, NULL, 0);
        return;
    }
    headers[n++] = (struct ws_header){ws_str("Content-Type"), ws_str(type)};
    ws_respond(c, 200, headers, n, s->text, s->len);
}

void minnow_static_respond(const struct minnow_static *s, struct ws_conn *c,
                           const struct ws_request *req, const struct ws_header *headers,
                           size_t count, const char *type)
{
    struct ws_str method = ws_request_method(req);

    if (ws_str_is(method, "OPTIONS"))
        respond_options(c);
    else if (!ws_str_is(method, "GET") && !ws_str_is(method, "HEAD"))
        minnow_static_error(c, 405, "405 Method Not Allowed\n");
    else
        respond(s, c, req, headers, count, type);
}

/* FNV-1a: any change gives another ETag. */
void minnow_static_init(struct minnow_static *s, char *text, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325u;

    s->text = text;
    s->len = len;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    snprintf(s->etag, sizeof s->etag, "\"%016llx\"", (unsigned long long)hash);
}

void minnow_static_release(struct minnow_static *s)
{
    free(s->text);
}
