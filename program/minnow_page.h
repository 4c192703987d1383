/* SPDX-License-Identifier: MIT
 *
 * Answers plain requests: the page at /, or an error. */
#ifndef MINNOW_PAGE_H
#define MINNOW_PAGE_H

#include "minnow_static.h"

/* In place. */
struct minnow_page {
    struct minnow_static html; /* for this mode */
};

/* False: out of memory. minnow_page_release() when done; an all-zero struct is allowed there,
 * too. */
bool minnow_page_init(struct minnow_page *page, bool echo);
void minnow_page_release(struct minnow_page *page);

/* Answer a request that is no upgrade: the page, 304, 404 or 405; or, for OPTIONS, the allowed
 * methods. */
void minnow_page_respond(const struct minnow_page *page, struct ws_conn *c,
                         const struct ws_request *req);

#endif
