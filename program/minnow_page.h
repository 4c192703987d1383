/* SPDX-License-Identifier: MIT
 *
 * The page at /, and what plain requests get. */
#ifndef MINNOW_PAGE_H
#define MINNOW_PAGE_H

#include "ws.h"

/* In place. */
struct minnow_page {
    char *text; /* as it is served in this mode */
    char etag[24];
};

/* False: out of memory. minnow_page_release() when done; it takes one that is all zero, too. */
bool minnow_page_init(struct minnow_page *page, bool echo);
void minnow_page_release(struct minnow_page *page);

/* Answer a request that is no upgrade: the page, 304, 404 or 405; or, for
 * OPTIONS, the methods that are allowed. */
void minnow_page_respond(const struct minnow_page *page, struct ws_conn *c,
                         const struct ws_request *req);

#endif
