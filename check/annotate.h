/* SPDX-License-Identifier: MIT
 *
 * The bytes of frames, field by field, in words. RFC 6455 §5.2
 *
 * Made for frames that break rules: each field is read as a server has to read it, whatever it
 * says, and a field that no endpoint of its side may send so is marked. Only the bytes that an
 * event has kept are read. Frames need not begin where an event does: a client may send half a
 * header, so where it stands is carried from one event to the next. What is not judged is the order
 * of frames. The reports call it. */
#ifndef CHECK_ANNOTATE_H
#define CHECK_ANNOTATE_H

#include "run.h"

enum field_kind {
    FIELD_FIN,
    FIELD_RSV,
    FIELD_OPCODE,
    FIELD_MASK,
    FIELD_LENGTH,          /* 7 bits */
    FIELD_EXTENDED_LENGTH, /* 2 or 8 bytes */
    FIELD_KEY,
    FIELD_PAYLOAD,  /* as it is on the wire */
    FIELD_UNMASKED, /* the same without the mask */
    FIELD_STATUS,
    FIELD_REASON,
    FIELD_KINDS
};

enum { MEANING_SIZE = 96, TITLE_SIZE = 96 };

struct field {
    enum field_kind kind;
    const uint8_t *data; /* of the event or of `unmasked`; valid as long as both */
    size_t len;
    uint8_t bits;        /* which bits of that one byte; 0: whole bytes */
    bool derived;        /* not on the wire, but computed with the masking key */
    bool readable;       /* data of the application, or a reason, without a mask */
    bool odd;            /* breaks a rule of `section` */
    const char *section; /* "§5.2" */
    char meaning[MEANING_SIZE];
};

/* A frame of an event, or the part of it that is in the event. */
struct frame_note {
    const uint8_t *data; /* on the wire */
    size_t len;
    size_t first; /* of its fields */
    size_t count;
    bool odd;               /* one of its fields is */
    char title[TITLE_SIZE]; /* "text, 5 bytes, masked" */
};

/* A frame has 2 bytes at least, and 5 fields in these; so no event has more than this. */
enum { FRAMES_MAX = EVENT_KEPT / 2 + 2, FIELDS_MAX = 5 * FRAMES_MAX + 8 };

struct annotation {
    struct frame_note frames[FRAMES_MAX];
    size_t frame_count;
    struct field fields[FIELDS_MAX];
    size_t field_count;
    uint8_t unmasked[EVENT_KEPT];
    size_t more; /* bytes of the event that are not kept */
};

/* Where the client's bytes stand. All zero: a frame begins. */
struct annotator {
    enum { AT_FIRST_BYTE, AT_SECOND_BYTE, AT_LENGTH, AT_KEY, AT_PAYLOAD } at;
    bool fin;
    unsigned rsv;
    unsigned opcode;
    bool masked;
    unsigned length_size; /* of the extended length */
    unsigned got;         /* bytes of the extended length or of the key, so far */
    uint64_t len;
    uint64_t done; /* bytes of the payload, so far */
    uint8_t key[4];
    unsigned status; /* of a Close frame, once its bytes are there */
};

/* Take apart event `e`, which is borrowed for as long as `out` is used. Without frames when it is
 * HTTP or an end. Call it for the events of a result in their order, with the same `a`. */
void annotate(struct annotation *out, struct annotator *a, const struct event *e);

const char *field_name(enum field_kind kind);

/* The bits of a field as digits, "0001", with a NUL. */
enum { BITS_SIZE = 9 };
void field_bits(char out[BITS_SIZE], const struct field *f);

/* Append the bytes of a head as lines of visible text, each behind `indent`. Where a line ends
 * with CR LF, as it should, these are not shown, but for the empty line at the end of a head. */
void add_head_lines(struct bytes *out, const struct event *e, const char *indent);

#endif
