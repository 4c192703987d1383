/* SPDX-License-Identifier: MIT
 *
 * A client for tests that can send any bytes, right or wrong, and reads what a WebSocket or HTTP
 * server answers. Every call blocks until it is done or RAW_DEADLINE_MS have passed. Whatever does
 * not go as expected fails the cmocka test that runs, with a dump of what was sent and what came.
 *
 * It shares no code with the server, so that no mistake can cancel itself out. */
#ifndef TESTS_RAW_CLIENT_H
#define TESTS_RAW_CLIENT_H

#include "unit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { RAW_DEADLINE_MS = 10000 * SLOWER, RAW_DUMP_MAX = 64, RAW_HEAD_MAX = 4096 };

/* First bytes of a frame: FIN and an opcode. */
enum {
    RAW_CONTINUATION = 0x80,
    RAW_TEXT = 0x81,
    RAW_BINARY = 0x82,
    RAW_CLOSE = 0x88,
    RAW_PING = 0x89,
    RAW_PONG = 0x8a,
    RAW_TEXT_PART = 0x01, /* without FIN */
    RAW_BINARY_PART = 0x02,
    RAW_CONTINUATION_PART = 0x00
};

/* Bytes to be sent, built up piece by piece. All zero is empty. */
struct raw_bytes {
    uint8_t *data;
    size_t len;
    size_t cap;
};

void raw_bytes_add(struct raw_bytes *b, const void *data, size_t len);
void raw_bytes_text(struct raw_bytes *b, const char *text);
/* The opening handshake for `path`, with more header lines ("A: b\r\n") or "". */
void raw_bytes_upgrade(struct raw_bytes *b, const char *path, const char *more);
/* A masked header that announces `len` bytes in the shortest form. */
void raw_bytes_header(struct raw_bytes *b, unsigned head, uint64_t len);
/* Payload masked by the key of raw_bytes_header(); `len` bytes that begin at `offset` of the
 * frame. */
void raw_bytes_payload(struct raw_bytes *b, const void *data, size_t len, uint64_t offset);
void raw_bytes_frame(struct raw_bytes *b, unsigned head, const void *payload, size_t len);
void raw_bytes_close(struct raw_bytes *b, unsigned code, const char *reason);
void raw_bytes_release(struct raw_bytes *b);

/* A sample of a stream for the failure message. */
struct raw_sample {
    uint8_t bytes[RAW_DUMP_MAX];
    size_t len;
    uint64_t total; /* bytes of the stream */
};

struct raw_client {
    int fd;            /* -1: not connected */
    const char *label; /* what this client tries, for failures; borrowed; may be NULL */
    uint8_t *in;       /* what came and was not taken is in[at..len) */
    size_t at, len, cap;
    bool eof;
    struct raw_sample sent; /* the beginning of what was sent last */
    struct raw_sample came; /* the end of what came */
};

/* One frame from the server; `payload` is valid until the next call for the client. */
struct raw_frame {
    uint8_t head; /* first byte */
    const uint8_t *payload;
    size_t len;
};

/* One response; `body` is valid until the next call for the client. */
struct raw_response {
    int status;
    char head[RAW_HEAD_MAX]; /* with every CRLF, and a NUL */
    const uint8_t *body;
    size_t body_len;
};

void raw_init(struct raw_client *c);
void raw_connect(struct raw_client *c, uint16_t port); /* 127.0.0.1 */
/* `rcvbuf` 0 is the system's own receive buffer. */
void raw_connect_to(struct raw_client *c, const struct sockaddr *address, socklen_t len,
                    int rcvbuf);
void raw_connect_slow(struct raw_client *c, uint16_t port); /* a receive buffer of a few KiB */
void raw_close(struct raw_client *c);      /* also releases what it holds; may be connected again */
void raw_reset(struct raw_client *c);      /* the same with RST instead of FIN */
void raw_half_close(struct raw_client *c); /* no more will be sent */

/* Send all of it, or fail. */
void raw_send(struct raw_client *c, const void *data, size_t len);
void raw_send_text(struct raw_client *c, const char *text);
void raw_send_bytes(struct raw_client *c, const struct raw_bytes *b);
void raw_send_chunks(struct raw_client *c, const void *data, size_t len, size_t chunk);
/* Send until the peer takes nothing for `stall_ms`. Returns the bytes sent. */
size_t raw_send_some(struct raw_client *c, const void *data, size_t len, int stall_ms);
/* Send all of it while reading, so that two full pipes do not wait for each other. */
void raw_exchange(struct raw_client *c, const void *data, size_t len);

void raw_send_frame(struct raw_client *c, unsigned head, const void *payload, size_t len);
void raw_send_message(struct raw_client *c, const char *text);
void raw_send_close(struct raw_client *c, unsigned code); /* 0: without a status */

/* The opening handshake for `path`, with more header lines or ""; the answer is still to come. */
void raw_send_upgrade(struct raw_client *c, const char *path, const char *more);
/* The same without more, and its answer; anything but a right 101 fails. */
void raw_upgrade(struct raw_client *c, const char *path);
void raw_read_response(struct raw_client *c, struct raw_response *r, bool head_only);
void raw_expect_status(struct raw_client *c, struct raw_response *r, int status);
void raw_expect_upgraded(struct raw_client *c, struct raw_response *r); /* 101, accept and all */
/* The value of header `name` in `out`, or false. */
bool raw_header(const struct raw_response *r, const char *name, char *out, size_t size);
bool raw_header_is(const struct raw_response *r, const char *name, const char *value);

void raw_read_frame(struct raw_client *c, struct raw_frame *f);
void raw_expect_frame(struct raw_client *c, unsigned head, const void *payload, size_t len);
void raw_expect_message(struct raw_client *c, const char *text);
void raw_expect_echo(struct raw_client *c, const char *text); /* send a message; it comes back */
void raw_expect_close(struct raw_client *c, unsigned code);   /* 0: a Close without a status */
void raw_expect_closed(struct raw_client *c, unsigned code);  /* the same, then EOF */
void raw_expect_eof(struct raw_client *c);                    /* FIN, and nothing before it */
/* Read and drop until the connection has ended in any way. False when it lives after
 * `timeout_ms`. */
bool raw_gone_within(struct raw_client *c, int timeout_ms);
/* Is there something to read, or EOF, within `timeout_ms`? */
bool raw_readable_within(const struct raw_client *c, int timeout_ms);

int64_t raw_now_ms(void); /* CLOCK_MONOTONIC */
bool raw_has_ipv6(void);  /* ::1 may be missing in a container */

_Noreturn void raw_fail(const struct raw_client *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
