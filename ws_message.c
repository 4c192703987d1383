/* SPDX-License-Identifier: MIT
 *
 * What is legal between frames, RFC 6455 §5.4, and in a Close frame, §5.5.1; see ws_message.h. */
#include "ws_message.h"

#include <string.h>

/* Bytes that are unmasked before they are validated: one character that is not ASCII costs a second
 * pass over these, not over a whole megabyte (`make bench-codecs`, nearly ASCII). */
enum { PIECE = 4096 };

int ws_message_admit(struct ws_message *m, const struct ws_frame *f, size_t max_len)
{
    switch ((enum ws_message_state)m->state) {
    case MESSAGE_NONE:
        if (f->opcode == WS_OP_CONTINUATION)
            return -WS_CLOSE_PROTOCOL; /* no message to continue */
        m->state = f->opcode == WS_OP_TEXT ? MESSAGE_TEXT : MESSAGE_BINARY;
        break;
    case MESSAGE_TEXT:
    case MESSAGE_BINARY:
        if (f->opcode != WS_OP_CONTINUATION)
            return -WS_CLOSE_PROTOCOL; /* the last message is unfinished */
        break;
    }
    /* Subtract, never add: the peer chose f->len and the sum could wrap. */
    if (m->len > max_len || f->len > max_len - m->len)
        return -WS_CLOSE_TOO_BIG;
    if (f->len == 0 && !f->fin && ++m->empty_fragments > WS_MESSAGE_EMPTY_FRAGMENTS_MAX)
        return -WS_CLOSE_TOO_BIG;
    m->len += (size_t)f->len;
    return 0;
}

/* Unmask a text and validate it. False at the first byte that cannot be in one. */
static bool unmask_text(struct utf8 *u, const struct ws_frame *f, uint8_t *data, size_t len,
                        uint64_t offset)
{
    while (len > 0) {
        size_t n = len < PIECE ? len : PIECE;
        bool ascii = ws_frame_unmask(data, n, f->mask, offset);

        if (!(ascii && utf8_complete(u)) && !utf8_feed(u, data, n))
            return false;
        data += n;
        offset += n;
        len -= n;
    }
    return true;
}

int ws_message_unmask(struct ws_message *m, const struct ws_frame *f, uint8_t *data, size_t len,
                      uint64_t offset)
{
    if (m->state == MESSAGE_TEXT)
        return unmask_text(&m->utf8, f, data, len, offset) ? 0 : -WS_CLOSE_INVALID;
    ws_frame_unmask(data, len, f->mask, offset);
    return 0;
}

int ws_message_judge(struct ws_message *m, const uint8_t *data, size_t len)
{
    return m->state == MESSAGE_TEXT && !utf8_feed(&m->utf8, data, len) ? -WS_CLOSE_INVALID : 0;
}

int ws_message_whole(const struct ws_frame *f, uint8_t *data, size_t max_len)
{
    struct utf8 utf8 = {0};

    if (f->len > max_len)
        return -WS_CLOSE_TOO_BIG;
    if (f->opcode == WS_OP_BINARY)
        ws_frame_unmask(data, (size_t)f->len, f->mask, 0);
    else if (!unmask_text(&utf8, f, data, (size_t)f->len, 0) || !utf8_complete(&utf8))
        return -WS_CLOSE_INVALID;
    return (int)f->opcode;
}

int ws_message_frame_end(struct ws_message *m, const struct ws_frame *f)
{
    int opcode = m->state == MESSAGE_TEXT ? WS_OP_TEXT : WS_OP_BINARY;

    if (!f->fin)
        return 0;
    if (opcode == WS_OP_TEXT && !utf8_complete(&m->utf8))
        return -WS_CLOSE_INVALID;
    *m = (struct ws_message){0};
    return opcode;
}

int ws_close_decode(struct ws_close_status *status, const uint8_t *payload, size_t len)
{
    struct utf8 utf8 = {0};

    *status = (struct ws_close_status){.code = WS_CLOSE_NO_STATUS, .reason = ""};
    if (len == 0)
        return 0;
    if (len == 1)
        return -WS_CLOSE_PROTOCOL;
    status->code = (unsigned)payload[0] << 8 | payload[1];
    status->reason = (const char *)payload + 2;
    status->reason_len = len - 2;
    if (!ws_close_code_valid(status->code))
        return -WS_CLOSE_PROTOCOL;
    if (!utf8_feed(&utf8, payload + 2, len - 2) || !utf8_complete(&utf8))
        return -WS_CLOSE_INVALID;
    return 0;
}

/* Cut at the end of a character: not in front of a continuation byte. */
static size_t cut_reason(const char *reason, size_t len)
{
    if (len <= WS_CLOSE_REASON_MAX)
        return len;
    len = WS_CLOSE_REASON_MAX;
    while (len > 0 && ((uint8_t)reason[len] & 0xc0) == 0x80)
        len--;
    return len;
}

size_t ws_close_encode(uint8_t out[WS_CONTROL_MAX], unsigned code, const char *reason,
                       size_t reason_len)
{
    size_t len = cut_reason(reason, reason_len);

    if (code == WS_CLOSE_NONE)
        return 0;
    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
    if (len != 0)
        memcpy(out + 2, reason, len);
    return 2 + len;
}

bool ws_close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}
