/* SPDX-License-Identifier: MIT
 *
 * HTTP/1.1 on the server's side, RFC 9112: the head of a request, its body, the head of a response.
 * Strict on purpose: a request that two parsers could read differently is refused, not guessed at
 * (RFC 9112 §11.2). Left out: obs-fold, HTTP/0.9, authority-form and CONNECT. Pure.
 *
 * The caller finds the end of the head with http_head_scan(), which reads every byte once, however
 * the bytes arrive; then http_request_parse() splits the whole head into pointers into it. */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ws_str.h"

enum {
    HTTP_HEAD_MAX = 16384,  /* request line and fields, with every CRLF; beyond: 431 */
    HTTP_FIELDS_MAX = 100,  /* beyond: 431 */
    HTTP_TARGET_MAX = 8192, /* beyond: 414 */
    HTTP_METHOD_MAX = 32,   /* beyond: 400; no method is so long */
    HTTP_NEED_MORE = 0      /* not an error: the input ends too early */
};

struct http_field {
    struct ws_str name;  /* a token, as it was written */
    struct ws_str value; /* without white space around it */
};

enum http_framing {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH, /* Content-Length */
    HTTP_BODY_CHUNKED /* Transfer-Encoding: chunked */
};

/* A request head, all of it pointers into the buffer that was parsed. */
struct http_request {
    struct ws_str method;
    struct ws_str target; /* as it was sent: origin-form, absolute-form or "*" */
    struct ws_str path;   /* the target's path, still percent-encoded; from absolute-form too */
    struct ws_str query;  /* behind the first '?', empty without one */
    struct ws_str host;   /* Host, or the authority of an absolute-form target; empty on 1.0 */
    int minor;            /* 0 or 1: HTTP/1.x */
    bool keep_alive;      /* RFC 9112 §9.3 */
    bool expect_continue; /* Expect: 100-continue on 1.1, RFC 9110 §10.1.1 */
    enum http_framing framing;
    uint64_t content_length; /* with HTTP_BODY_LENGTH */
    size_t field_count;
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* How far the search for the end of a head has come. All zero at the first byte of a request. */
struct http_scan {
    size_t at;         /* bytes scanned */
    size_t line_start; /* where the line that is being read begins */
    size_t lines;      /* lines ended so far, without the empty ones before the request line */
    size_t word_start; /* where the word of the request line that is being read begins */
    size_t words;      /* words of the request line ended so far */
};

/* Look for the end of the head in `buf[0..len)`, borrowed; earlier calls of this head saw a prefix
 * of the same bytes (the buffer may have moved). Empty lines before the request line count as part
 * of the head, RFC 9112 §2.2.
 *
 * Returns the head's length with its last CRLF, HTTP_NEED_MORE, or a negated status as soon as it
 * is certain: -400 for a control character, a bare CR or a bare LF, or a request line that cannot
 * become one (a method or version too long, a fourth word), -414 for a request target and -431
 * for a head or a number of fields over the limit. */
int http_head_scan(struct http_scan *scan, const char *buf, size_t len);

/* Parse the head `buf[0..len)`, whose length http_head_scan() returned.
 *
 * Returns 0 with `*r` filled in, or a negated status with `*why` set to a text that says what is
 * wrong: -400, -431, -414, -501 for CONNECT and for a transfer coding in front of chunked, -505 for
 * a major version other than 1. `*r` points into `buf`. RFC 9112 §2 to §7, RFC 9110 §7.2,
 * §9.3.6. */
int http_request_parse(struct http_request *r, const char *buf, size_t len, const char **why);

/* The value of field `name` (any case), or one with data NULL when it is absent. With several
 * fields of that name: the first. `*count`, unless NULL, gets their number. */
struct ws_str http_request_field(const struct http_request *r, const char *name, size_t *count);

/* The value of the first parameter `name` of a query such as "a=1&name=x", still percent-encoded;
 * empty where it has no '=', data NULL where there is no such parameter. Names are compared as they
 * are. */
struct ws_str http_query_value(struct ws_str query, const char *name);

/* Is `token` (any case) a member of the comma-separated lists in all fields of this name? RFC 9110
 * §5.6.1: empty members are skipped, and a member's ;parameters or /version do not matter. */
bool http_request_has_token(const struct http_request *r, const char *name, const char *token);

/* Walk a comma-separated list: cut the next non-empty member, without white space around it, off
 * the front of `*rest`. Returns false at the end. Commas inside quoted-strings do not separate. */
bool http_list_next(struct ws_str *rest, struct ws_str *member);

/* The last member of the lists in all fields of this name; data NULL when there is none. In fields
 * to which each proxy adds a member, it is from the proxy that connects to this server. */
struct ws_str http_request_last_member(const struct http_request *r, const char *name);

/* The value of `name` (any case) in a member such as "for=[::1];proto=https", without quotes around
 * it; data NULL when there is none. RFC 7239 §4 */
struct ws_str http_member_parameter(struct ws_str member, const char *name);

/* How long the host at the front of `s` is, a name or an address, or an IPv6 address in brackets; 0
 * when there is none. No character that delimits a host in a URI, nor a comma, counts as part of
 * it. RFC 3986 §3.2.2 */
size_t http_host_length(struct ws_str s);

char http_lower(char c); /* of an ASCII letter; any other byte is left as it is */
/* `s` from its byte number `n` on, n <= s.len. */
struct ws_str http_skip(struct ws_str s, size_t n);
bool http_is_nocase(struct ws_str s, const char *text); /* equal, ASCII case aside */
bool http_same_nocase(struct ws_str a, struct ws_str b);
bool http_is_token(struct ws_str s); /* RFC 9110 §5.6.2; not empty */

/* --- body ------------------------------------------------------------------------------------- */

/* A request body on its way in. */
struct http_body {
    enum http_framing framing;
    uint8_t state;      /* of the chunked decoder */
    uint8_t digits;     /* of the chunk size so far; at most 16 are counted */
    uint64_t remaining; /* of the body, or of the chunk being read */
    uint64_t total;     /* payload bytes announced so far */
    uint64_t max;       /* limit of total */
    size_t overhead;    /* bytes of extensions, trailers, leading zeros so far; limited */
};

/* Begin the body that `r` announces, of at most `max_bytes`.
 * Returns 0, or -413 when Content-Length says already that it is too long. */
int http_body_begin(struct http_body *b, const struct http_request *r, uint64_t max_bytes);

/* Decode `in[0..len)`. Sets `*used` to the bytes consumed and `*data`, `*data_len` to a piece of
 * the body among them (perhaps empty). Call again with the rest, also with an empty rest once,
 * until
 *
 * it returns 1: the body has ended, what is behind *used belongs to the next request; or
 * HTTP_NEED_MORE with *used == len: all consumed, call again when more has come; or a negated
 * status: -400 for bytes that are no chunk, chunk extension or trailer field by the grammar, -413
 * for a body over the limit, -431 for more than 16 KiB of bytes that are checked and dropped:
 * extensions, trailers, and zeros beyond the 16 digits of a chunk size. Chunks may be of any size.
 * A return of HTTP_NEED_MORE with *used < len means: take *data, then call again. RFC 9112 §6,
 * §7.1. */
int http_body_decode(struct http_body *b, const char *in, size_t len, size_t *used,
                     const char **data, size_t *data_len);

/* --- response --------------------------------------------------------------------------------- */

/* A response head being written into the caller's memory. */
struct http_writer {
    char *out; /* borrowed */
    size_t cap;
    size_t len;  /* bytes written; meaningless after a failure */
    bool failed; /* did not fit, or a name or value is not legal */
};

/* Write the status line. */
void http_writer_init(struct http_writer *w, char *out, size_t cap, int status);

/* Write one field. A name that is not a token or a value with CR, LF, NUL or another control
 * character (except HTAB) fails the whole head. RFC 9110 §5.5. */
void http_writer_field(struct http_writer *w, struct ws_str name, struct ws_str value);
void http_writer_number(struct http_writer *w, const char *name, uint64_t value);

/* Write the empty line. Returns the head's length, or -1 when any of the writes failed. */
ptrdiff_t http_writer_end(struct http_writer *w);

/* "Not Found" for 404; "Status" for a number without a registered phrase. */
const char *http_status_phrase(int status);

#endif
