/* SPDX-License-Identifier: MIT
 *
 * The peers of a whole server that is fuzzed, or whose calls fail: connections to a real server in
 * the same thread, what is still to be sent on them, and a strict reader of what it sends. The
 * reader aborts on anything that the server must never send: a frame that is masked, reserved, too
 * long or behind a Close, a response without an end, bytes behind the last response. It shares no
 * code with the server.
 *
 * What the input of a fuzzer says is read from a tape, byte by byte. A tape that has ended gives
 * zeros. */
#ifndef TESTS_PEERS_H
#define TESTS_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../server.h"

/* An assertion that NDEBUG does not turn off. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_report(#condition, __FILE__, __LINE__);                                          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)
extern char check_note[128]; /* what is being tried, for the message; "" at first */
void check_report(const char *condition, const char *file, int line);

struct tape {
    const uint8_t *data;
    size_t left;
};
unsigned tape_byte(struct tape *t);
/* Up to `n` bytes of it, as they lie; their number in `*got`. */
const uint8_t *tape_bytes(struct tape *t, size_t n, size_t *got);

/* The fields of an opening handshake. */
#define PEER_UPGRADE                                                                               \
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"                                                \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

enum {
    PEERS = 6,
    PEER_OUT_MAX = 1 << 18,
    PEER_IN_MAX = 3 << 20, /* more than a server has memory for */
    PEER_REQUESTS_MAX = 64
};

struct peer {
    int fd;        /* -1: not connected */
    unsigned turn; /* how often this place was used before */
    bool orderly;  /* it has sent nothing but whole requests and messages: what comes back is
                      known. Else only its form is */
    bool websocket;
    bool closing;     /* a Close has come */
    bool sent_close;  /* a Close, or our FIN, is sent or waits to be */
    bool gone;        /* FIN or reset has come */
    bool last_answer; /* a response has come behind which the connection ends, */
    bool last_head;   /* to a HEAD that may have been refused before its method was known, with a
                         body */
    size_t out_at, out_len, in_len;
    uint8_t out[PEER_OUT_MAX]; /* out_at is sent */
    uint8_t in[PEER_IN_MAX];   /* came and is not read */
    /* Requests without an answer, the oldest first: what to make of the answer. */
    struct peer_request {
        bool head_only, upgrade;
        unsigned number;
        size_t body_len; /* SIZE_MAX: any body */
    } requests[PEER_REQUESTS_MAX];
    size_t request_count;
    /* The message that comes in fragments. */
    unsigned opcode; /* 0: none */
    size_t message_len;
    uint8_t message[PEER_IN_MAX];
};

/* What the fuzzer makes of what has come; each may be NULL. */
struct peer_events {
    void (*on_response)(struct peer *p, int status, const char *head, const uint8_t *body,
                        size_t len, const struct peer_request *r); /* only of an orderly peer */
    void (*on_message)(struct peer *p, unsigned opcode, const uint8_t *data, size_t len);
    void (*on_pong)(struct peer *p, const uint8_t *data, size_t len);
};

extern struct peer peers[PEERS];

void peers_reset(void);

/* Connect to the server, unless it is; its address is that of host number `host`, 0 for none. */
void peer_connect(struct peer *p, struct ws_server *s, unsigned host);

/* The same with the limits of the server: as accept.c lets in who comes from this address to a
 * socket on which the names in Host are checked. `from->len` 0: a Unix socket. */
void peer_arrive(struct peer *p, struct ws_server *s, const struct address *from);

/* The same through the Unix socket at `path`. False when nobody takes it. */
bool peer_dial(struct peer *p, const char *path);

/* Put bytes behind what is still to be sent. False, and nothing is put, without room for it. */
bool peer_put(struct peer *p, const void *data, size_t len);
bool peer_put_text(struct peer *p, const char *text);
/* A masked frame; `head` is its first byte. */
bool peer_put_frame(struct peer *p, unsigned head, const void *payload, size_t len);
/* Note a request that was put, for its answer. */
void peer_expect(struct peer *p, struct peer_request r);
/* Send up to `n` bytes. */
void peer_push(struct peer *p, size_t n);

/* Take up to `n` bytes that have come, and read them. Returns whether there were some. */
bool peer_pull(struct peer *p, size_t n, const struct peer_events *e);

void peer_half_close(struct peer *p);
void peer_close(struct peer *p); /* with bytes unread the server sees a reset */

#endif
