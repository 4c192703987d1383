/* SPDX-License-Identifier: MIT
 *
 * The page at /; see minnow_page.h. */
#include "minnow_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* program/web/index.html, made into an array by program/web/embed.sh. */
extern const unsigned char minnow_html[];
extern const size_t minnow_html_len;
extern const char minnow_html_policy[]; /* its Content-Security-Policy */

static const char page_methods[] = "GET, HEAD, OPTIONS";

static void respond_text(struct ws_conn *c, int status, const char *text)
{
    const struct ws_header headers[] = {
        {ws_str("Content-Type"), ws_str("text/plain; charset=utf-8")},
        {ws_str("X-Content-Type-Options"), ws_str("nosniff")},
        {ws_str("Allow"), ws_str(page_methods)},
    };

    ws_respond(c, status, headers, status == 405 ? 3 : 2, text, strlen(text));
}

/* Answer OPTIONS, which clients use to test the server and to ask for the allowed methods, RFC 9110
 * §9.3.7. */
static void respond_options(struct ws_conn *c)
{
    const struct ws_header allow = {ws_str("Allow"), ws_str(page_methods)};

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

/* Does the client have the page as it is? Fields of the same name are one list. */
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

static void respond_page(const struct minnow_page *page, struct ws_conn *c,
                         const struct ws_request *req)
{
    const struct ws_header headers[] = {
        {ws_str("Cache-Control"), ws_str("no-cache")}, /* stored, but checked each time */
        {ws_str("ETag"), ws_str(page->etag)},
        {ws_str("Content-Security-Policy"), ws_str(minnow_html_policy)},
        {ws_str("X-Content-Type-Options"), ws_str("nosniff")},
        {ws_str("Referrer-Policy"), ws_str("no-referrer")},
        {ws_str("Content-Type"), ws_str("text/html; charset=utf-8")}, /* not in a 304 */
    };
    size_t count = sizeof headers / sizeof headers[0];

    if (is_fresh(req, page->etag))
        ws_respond(c, 304, headers, count - 1, NULL, 0);
    else
        ws_respond(c, 200, headers, count, page->text, minnow_html_len);
}

void minnow_page_respond(const struct minnow_page *page, struct ws_conn *c,
                         const struct ws_request *req)
{
    struct ws_str method = ws_request_method(req);

    if (!ws_str_is(ws_request_path(req), "/"))
        respond_text(c, 404, "404 Not Found: the page is at /; a WebSocket may use any path\n");
    else if (ws_str_is(method, "OPTIONS"))
        respond_options(c);
    else if (!ws_str_is(method, "GET") && !ws_str_is(method, "HEAD"))
        respond_text(c, 405, "405 Method Not Allowed\n");
    else
        respond_page(page, c, req);
}

/* The page has the mode in one word; both words have four letters. */
bool minnow_page_init(struct minnow_page *page, bool echo)
{
    static const char chat[] = "data-mode=\"chat\"";
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a: any change gives another ETag */
    char *mode;

    page->text = malloc(minnow_html_len + 1);
    if (page->text == NULL)
        return false; /* uncovered: no test makes malloc() fail in the program */
    memcpy(page->text, minnow_html, minnow_html_len);
    page->text[minnow_html_len] = '\0';
    mode = strstr(page->text, chat);
    if (echo && mode != NULL)
        memcpy(mode + strlen("data-mode=\""), "echo", 4);
    for (size_t i = 0; i < minnow_html_len; i++)
        hash = (hash ^ (unsigned char)page->text[i]) * 0x100000001b3u;
    snprintf(page->etag, sizeof page->etag, "\"%016llx\"", (unsigned long long)hash);
    return true;
}

void minnow_page_release(struct minnow_page *page)
{
    free(page->text);
}
