/* SPDX-License-Identifier: MIT
 *
 * A text that is kept in memory, and served with an ETag to those who do not have it yet. */
#ifndef MINNOW_STATIC_H
#define MINNOW_STATIC_H

#include "ws.h"

/* In place. */
struct minnow_static {
    char *text; /* owned */
    size_t len;
    char etag[24]; /* with its quotes */
};

/* Take `text`, from malloc(). minnow_static_release() when done; an all-zero struct is allowed
 * there, too. */
void minnow_static_init(struct minnow_static *s, char *text, size_t len);
void minnow_static_release(struct minnow_static *s);

/* Answer a request for it: the text, 304 or 405; or, for OPTIONS, the allowed methods. */
void minnow_static_respond(const struct minnow_static *s, struct ws_conn *c,
                           const struct ws_request *req, const struct ws_header *headers,
                           size_t count, const char *type);

/* Answer with a line of text. */
void minnow_static_error(struct ws_conn *c, int status, const char *text);

#endif
