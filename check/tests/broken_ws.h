/* SPDX-License-Identifier: MIT
 *
 * What the two halves of the echo share: broken_ws.c has the frames, broken_message.c what is in
 * them. See broken.h. */
#ifndef CHECK_TESTS_BROKEN_WS_H
#define CHECK_TESTS_BROKEN_WS_H

#include "broken.h"

enum { MESSAGE_MAX = 64 * 1024 * 1024 };
enum status { NORMAL = 1000, PROTOCOL_ERROR = 1002, INVALID_DATA = 1007, TOO_BIG = 1009 };

struct frame {
    bool fin;
    bool masked;
    unsigned rsv;
    unsigned opcode;
    unsigned size; /* bytes of the extended length */
    uint64_t len;
    uint8_t key[4];
    size_t header_len;
};

struct ws {
    struct conn *c;
    const struct fault *fault;
    struct frame frame; /* the one that comes, with */
    bool in_frame;      /* this: its header has come */
    bool was_cut;       /* its first bytes came without the rest */
    bool unchecked;     /* the mistake: its faults are overlooked */
    unsigned pending;   /* the mistake: it fails with this status when the frame is handled */
    bool ignored;       /* the mistake: a fault was told, but its input is not thrown away */
    uint64_t got;       /* bytes of its payload */
    uint64_t begun_ms;
    struct bytes control;
    unsigned control_open; /* the mistake: opcode of a control frame in fragments, or 0 */
    struct bytes message;
    unsigned opcode;     /* of the message */
    unsigned first_type; /* of the first one */
    bool open;           /* a message has begun and not ended */
    bool ever_open;
    struct utf8 utf8;
    struct bytes late; /* Pongs that are held back */
    unsigned pings;
    unsigned long frames;
    bool closing; /* Close was sent */
    bool failed;  /* because of a fault */
    bool over;    /* nothing more is handled */
};

/* Fail the connection, RFC 6455 §7.1.7, and throw away what else has come. */
void ws_fail(struct ws *ws, unsigned status);

/* Some bytes of a data frame, unmasked; and its end. */
void ws_begin_message(struct ws *ws);
void ws_take_data(struct ws *ws, const uint8_t *data, size_t len);
void ws_end_data(struct ws *ws);

/* The end of a control frame, whose payload is in `ws->control`. */
void ws_end_control(struct ws *ws);

#endif
