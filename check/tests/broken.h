/* SPDX-License-Identifier: MIT
 *
 * A small echo server that is broken in one place on demand: what proves that wscheck notices.
 *
 * Without a fault it passes every case of wscheck. `--fault NAME` or `--fault NAME=VALUE` makes one
 * mistake that a server could have; honest.py lists them all, with the cases that each must fail.
 * It sees the bytes that it receives and nothing else: no name of a case, no count of connections.
 *
 * One thread per connection, blocking, and of the code of wscheck only what writes frames and what
 * computes the accept value. */
#ifndef CHECK_TESTS_BROKEN_H
#define CHECK_TESTS_BROKEN_H

#include "check/wire.h"

/* The one mistake. Without one `name` is empty. */
struct fault {
    char name[32];
    char value[64];
};

bool fault_is(const struct fault *f, const char *name); /* whatever its value is */
bool fault_has(const struct fault *f, const char *name, const char *value);
long fault_number(const struct fault *f, const char *name, long otherwise);
bool fault_at(const struct fault *f, const char *name, long number);

/* --- a connection, broken.c ------------------------------------------------------------------- */

struct conn {
    int fd;
    const struct fault *fault;
    const struct utf8_rules *rules;
    struct bytes in; /* what has come; [at, len) is not handled yet */
    size_t at;
    struct bytes out; /* not sent yet */
};

static inline size_t conn_left(const struct conn *c)
{
    return c->in.len - c->at;
}

/* Wait for more input, for `timeout_ms` or, if that is -1, for ever. */
enum more { MORE_CAME, MORE_END, MORE_TIMEOUT };
enum more conn_more(struct conn *c, int timeout_ms);
void conn_take(struct conn *c, size_t len); /* that much is handled */
void conn_flush(struct conn *c);

/* --- HTTP, broken_http.c and broken_head.c ---------------------------------------------------- */

/* Answer requests until one of them becomes a WebSocket: true, or the connection is over. */
bool http_serve(struct conn *c);

struct field {
    char *name;
    char *value;
};

struct request {
    const char *method;
    const char *target;
    int minor; /* of the version HTTP/1.x */
    struct field *fields;
    size_t count;
    unsigned long long length; /* of the body */
    bool chunked;
};

/* Parse a head: `head[0..len)` ends behind its empty line, is followed by a NUL, is changed, and is
 * borrowed until the release. Returns 0, or the status to refuse it with; release `r` anyway. */
int request_parse(struct request *r, const struct fault *f, char *head, size_t len);
void request_release(struct request *r);
/* The value of the first field of that name, or NULL; and how many there are. */
const char *request_field(const struct request *r, const struct fault *f, const char *name);
size_t request_count(const struct request *r, const struct fault *f, const char *name);
void trim_end(char *text);

/* The handshake, broken_upgrade.c. Returns 101, 0 if it is none, or the status to refuse with. */
int upgrade_check(const struct request *r, const struct fault *f);
void upgrade_answer(struct bytes *out, const struct request *r, const struct fault *f);

/* --- WebSocket, broken_ws.c ------------------------------------------------------------------- */

/* Echo messages until the connection is over. */
void ws_serve(struct conn *c);

/* --- UTF-8, broken_utf8.c --------------------------------------------------------------------- */

/* What RFC 3629 §4 says of each first byte; then the fault changes an entry. */
struct utf8_rules {
    uint8_t size[256]; /* of the character; 0: it begins none */
    uint8_t low[256];  /* the second byte's range */
    uint8_t high[256];
    unsigned any_at;  /* whatever byte comes here is taken: 3, 4; 0: nowhere */
    uint32_t refused; /* a character that is taken for none */
    bool ascii_mends; /* an ASCII byte ends a character that is not whole */
};

void utf8_rules_init(struct utf8_rules *rules, const struct fault *f);

/* A check that goes on where it was. All zero at first. */
struct utf8 {
    uint8_t first;
    unsigned got;
    uint32_t point;
};

bool utf8_feed(struct utf8 *u, const struct utf8_rules *rules, const uint8_t *data, size_t len);
bool utf8_is_whole(const struct utf8 *u);

#endif
