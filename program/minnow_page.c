/* SPDX-License-Identifier: MIT
 *
 * The page at /; see minnow_page.h. */
#include "minnow_page.h"

#include <stdlib.h>
#include <string.h>

/* program/web/index.html, made into an array by program/web/embed.sh. */
extern const unsigned char minnow_html[];
extern const size_t minnow_html_len;
extern const char minnow_html_policy[]; /* its Content-Security-Policy */

void minnow_page_respond(const struct minnow_page *page, struct ws_conn *c,
                         const struct ws_request *req)
{
    const struct ws_header headers[] = {
        {ws_str("Cache-Control"), ws_str("no-cache")}, /* stored, but checked each time */
        {ws_str("Content-Security-Policy"), ws_str(minnow_html_policy)},
        {ws_str("Referrer-Policy"), ws_str("no-referrer")},
    };

    if (!ws_str_is(ws_request_path(req), "/"))
        minnow_static_error(c, 404,
                            "404 Not Found: the page is at /; a WebSocket may use any path\n");
    else
        minnow_static_respond(&page->html, c, req, headers, sizeof headers / sizeof headers[0],
                              "text/html; charset=utf-8");
}

/* The page has the mode in one word; both words have four letters. */
bool minnow_page_init(struct minnow_page *page, bool echo)
{
    static const char chat[] = "data-mode=\"chat\"";
    char *text = malloc(minnow_html_len + 1);
    char *mode;

    if (text == NULL)
        return false; /* uncovered: no test makes malloc() fail in the program */
    memcpy(text, minnow_html, minnow_html_len);
    text[minnow_html_len] = '\0';
    mode = strstr(text, chat);
    if (echo && mode != NULL)
        memcpy(mode + strlen("data-mode=\""), "echo", 4);
    minnow_static_init(&page->html, text, minnow_html_len);
    return true;
}

void minnow_page_release(struct minnow_page *page)
{
    minnow_static_release(&page->html);
}
