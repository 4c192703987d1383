/* SPDX-License-Identifier: MIT
 *
 * The numbers of RFC 6455 that an application and the codecs both use: opcodes (§5.2, §11.8) and
 * close codes (§7.4.1, §11.7). Included by ws.h and by the codecs, so that each number is defined
 * once. Only constants. */
#ifndef WS_PROTOCOL_H
#define WS_PROTOCOL_H

enum ws_opcode {
    WS_OP_CONTINUATION = 0x0,
    WS_OP_TEXT = 0x1,
    WS_OP_BINARY = 0x2,
    WS_OP_CLOSE = 0x8,
    WS_OP_PING = 0x9,
    WS_OP_PONG = 0xa,
};

enum ws_close_code {
    WS_CLOSE_NONE = 0,           /* in ws_close(): send a Close frame without a status */
    WS_CLOSE_NORMAL = 1000,      /* the purpose has been fulfilled */
    WS_CLOSE_GOING_AWAY = 1001,  /* the server stops, or the page was left */
    WS_CLOSE_PROTOCOL = 1002,    /* the peer broke RFC 6455 */
    WS_CLOSE_UNSUPPORTED = 1003, /* a type of data that the endpoint cannot accept */
    WS_CLOSE_NO_STATUS = 1005,   /* never sent: the peer's Close frame had no status */
    WS_CLOSE_ABNORMAL = 1006,    /* never sent: the connection ended without a Close frame */
    WS_CLOSE_INVALID = 1007,     /* text that is not UTF-8 */
    WS_CLOSE_POLICY = 1008,      /* the application's own rules were broken */
    WS_CLOSE_TOO_BIG = 1009,     /* a message over the limit */
    WS_CLOSE_INTERNAL = 1011,    /* the server had an internal error */
    WS_CLOSE_TRY_LATER = 1013,   /* the server is overloaded, or the peer reads too slowly */
};

/* Bytes of payload that a control frame can carry, RFC 6455 §5.5. */
enum { WS_CONTROL_MAX = 125, WS_CLOSE_REASON_MAX = WS_CONTROL_MAX - 2 };

#endif
