/* SPDX-License-Identifier: MIT
 *
 * From frames to messages, RFC 6455 §5.4 to §5.6, §7.4 and §8.1: which frame may follow which, how
 * long a message may become, whether its text is UTF-8, and what a Close frame says. It validates
 * and counts, and holds no payload: the caller keeps the bytes. Pure.
 *
 * For each data frame: ws_message_admit() with its header, ws_message_unmask() with the payload in
 * pieces of any size, ws_message_frame_end() when all of it has come. Control frames may stand
 * between these calls for different frames and do not concern a message. */
#ifndef WS_MESSAGE_H
#define WS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "utf8.h"
#include "ws_frame.h"

/* Empty fragments that one message may have. They cost no memory, but the message does not grow. */
enum { WS_MESSAGE_EMPTY_FRAGMENTS_MAX = 65536 };

enum ws_message_state { MESSAGE_NONE, MESSAGE_TEXT, MESSAGE_BINARY };

/* An all-zero struct has no message open. */
struct ws_message {
    size_t len;               /* bytes announced for this message so far; <= max_len */
    uint32_t empty_fragments; /* frames of it that had no payload and no FIN */
    struct utf8 utf8;         /* of the text so far */
    uint8_t state;            /* enum ws_message_state */
};

/* Admit data frame `f` (not a control frame) of a message that may hold `max_len` bytes.
 *
 * Returns 0, or the negated close code to fail the connection with: -WS_CLOSE_PROTOCOL when a
 * continuation has no message to continue or a new message starts inside another, -WS_CLOSE_TOO_BIG
 * when the announced lengths pass max_len or the empty fragments their limit. RFC 6455 §5.4. */
int ws_message_admit(struct ws_message *m, const struct ws_frame *f, size_t max_len);

/* The next payload bytes of `f`: unmask them in place and validate them, in the same pass where
 * they are ASCII. `offset` is how many bytes of f's payload came before.
 * Returns 0, or -WS_CLOSE_INVALID at the first byte that cannot be in a text. RFC 6455 §8.1. */
int ws_message_unmask(struct ws_message *m, const struct ws_frame *f, uint8_t *data, size_t len,
                      uint64_t offset);

/* Validate the next bytes of a message whose content differs from its payload, since an extension
 * has transformed it: as ws_message_unmask(), without unmasking. Returns the same. */
int ws_message_judge(struct ws_message *m, const uint8_t *data, size_t len);

/* All payload of data frame `f` has come.
 *
 * Returns 0 when the message goes on, its opcode (WS_OP_TEXT or WS_OP_BINARY) when it is whole, and
 * then `m` is ready for the next one; or -WS_CLOSE_INVALID when a text ends inside a character. */
int ws_message_frame_end(struct ws_message *m, const struct ws_frame *f);

/* All three in one for a message in one frame, all of whose payload is in `data`, when no message
 * is open: `f` has FIN and is no continuation. Returns its opcode, -WS_CLOSE_TOO_BIG or
 * -WS_CLOSE_INVALID. */
int ws_message_whole(const struct ws_frame *f, uint8_t *data, size_t max_len);

/* What a Close frame says, RFC 6455 §5.5.1. `reason` points into the payload it was decoded
 * from. */
struct ws_close_status {
    unsigned code; /* WS_CLOSE_NO_STATUS for an empty payload */
    const char *reason;
    size_t reason_len;
};

/* Decode the payload of a Close frame. Returns 0, or -WS_CLOSE_PROTOCOL for a payload of one byte
 * or a code that must not be sent (§7.4), or -WS_CLOSE_INVALID for a reason that is not UTF-8. */
int ws_close_decode(struct ws_close_status *status, const uint8_t *payload, size_t len);

/* Write the payload of a Close frame. `code` is WS_CLOSE_NONE for an empty payload, else one that
 * ws_close_code_valid() accepts. A reason over 123 bytes is cut at the end of a character.
 * Returns the payload's length, 0 to 125. */
size_t ws_close_encode(uint8_t out[WS_CONTROL_MAX], unsigned code, const char *reason,
                       size_t reason_len);

/* May this code stand in a Close frame? 1000-1003, 1007-1014 and 3000-4999. RFC 6455 §7.4 and the
 * IANA registry of §11.7. */
bool ws_close_code_valid(unsigned code);

#endif
