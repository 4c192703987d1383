/* SPDX-License-Identifier: MIT
 *
 * Frames, field by field; see annotate.h. */
#include "annotate.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "report_escape.h"

/* What is left of an event, and where its notes go. */
struct work {
    struct annotation *out;
    struct annotator *a;
    bool sent;
    const uint8_t *data;
    size_t left;
};

const char *field_name(enum field_kind kind)
{
    static const char *const names[FIELD_KINDS] = {
        "FIN", "RSV",     "opcode",   "MASK",   "length", "extended length",
        "key", "payload", "unmasked", "status", "reason",
    };

    return names[kind];
}

void field_bits(char out[BITS_SIZE], const struct field *f)
{
    size_t n = 0;

    for (unsigned bit = 0x80; bit != 0; bit >>= 1)
        if ((f->bits & bit) != 0)
            out[n++] = (f->data[0] & bit) != 0 ? '1' : '0';
    out[n] = '\0';
}

/* --- notes ------------------------------------------------------------------------------------ */

static struct frame_note *this_frame(const struct work *w)
{
    return &w->out->frames[w->out->frame_count - 1];
}

static void begin_frame(struct work *w)
{
    assert(w->out->frame_count < FRAMES_MAX);
    w->out->frames[w->out->frame_count++] =
        (struct frame_note){.data = w->data, .first = w->out->field_count};
}

static struct field *add_field(struct work *w, enum field_kind kind, const uint8_t *data,
                               size_t len, const char *section)
{
    struct field *f = &w->out->fields[w->out->field_count++];

    assert(w->out->field_count <= FIELDS_MAX);
    *f = (struct field){.kind = kind, .data = data, .len = len, .section = section};
    this_frame(w)->count++;
    return f;
}

__attribute__((format(printf, 2, 3))) static void mean(struct field *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(f->meaning, sizeof f->meaning, format, args);
    va_end(args);
}

/* The field breaks a rule of that section. */
static void mark(struct work *w, struct field *f, const char *section)
{
    f->odd = true;
    f->section = section;
    this_frame(w)->odd = true;
}

static void consume(struct work *w, size_t len)
{
    w->data += len;
    w->left -= len;
    this_frame(w)->len += len;
}

/* --- the header ------------------------------------------------------------------------------- */

static bool is_control(unsigned opcode)
{
    return opcode >= OP_CLOSE;
}

static const char *opcode_name(unsigned opcode)
{
    static const char *const names[16] = {
        [OP_CONTINUATION] = "continuation",
        [OP_TEXT] = "text",
        [OP_BINARY] = "binary",
        [OP_CLOSE] = "Close",
        [OP_PING] = "Ping",
        [OP_PONG] = "Pong",
    };

    return names[opcode] != NULL ? names[opcode] : "reserved";
}

static void note_fin(struct work *w)
{
    struct field *f = add_field(w, FIELD_FIN, w->data, 1, "§5.2");

    f->bits = 0x80;
    mean(f, w->a->fin ? "FIN=1, last fragment" : "FIN=0, more fragments follow");
    if (is_control(w->a->opcode) && !w->a->fin) {
        mean(f, "FIN=0, but a control frame is never fragmented");
        mark(w, f, "§5.5");
    }
}

static void note_rsv(struct work *w)
{
    struct field *f = add_field(w, FIELD_RSV, w->data, 1, "§5.2");
    char bits[BITS_SIZE];

    f->bits = 0x70;
    mean(f, "RSV=000, as without extensions");
    if ((w->data[0] & f->bits) != 0) {
        field_bits(bits, f);
        mean(f, "RSV=%s, but no extension is agreed on that sets these bits", bits);
        mark(w, f, "§5.2");
    }
}

static void note_opcode(struct work *w)
{
    struct field *f = add_field(w, FIELD_OPCODE, w->data, 1, "§5.2");
    const char *name = opcode_name(w->a->opcode);

    f->bits = 0x0f;
    mean(f, "opcode %u, %s", w->a->opcode, name);
    if (strcmp(name, "reserved") == 0)
        mark(w, f, "§5.2");
}

static void first_byte(struct work *w)
{
    *w->a = (struct annotator){
        .at = AT_SECOND_BYTE, .fin = (w->data[0] & 0x80) != 0, .opcode = w->data[0] & 15};
    note_fin(w);
    note_rsv(w);
    note_opcode(w);
    consume(w, 1);
}

static void note_mask(struct work *w)
{
    struct field *f = add_field(w, FIELD_MASK, w->data, 1, "§5.2");

    f->bits = 0x80;
    mean(f, w->a->masked ? "MASK=1, a key follows and the payload is masked"
                         : "MASK=0, the payload is as it is");
    if (w->a->masked == w->sent)
        return;
    mean(f, w->sent ? "MASK=0, but a client has to mask" : "MASK=1, but a server must not mask");
    mark(w, f, "§5.1");
}

static void note_length(struct work *w)
{
    struct field *f = add_field(w, FIELD_LENGTH, w->data, 1, "§5.2");
    unsigned n = w->data[0] & 127;

    f->bits = 0x7f;
    mean(f,
         n == 126   ? "length 126: the next 2 bytes"
         : n == 127 ? "length 127: the next 8 bytes"
                    : "length %u",
         n);
    if (n < 126 || !is_control(w->a->opcode))
        return;
    mean(f, "length %u, but a control frame has at most 125 bytes", n);
    mark(w, f, "§5.5");
}

/* Go on to the next part of the frame that has bytes. */
static void advance(struct annotator *a)
{
    if (a->at < AT_LENGTH && a->length_size > 0)
        a->at = AT_LENGTH;
    else if (a->at < AT_KEY && a->masked)
        a->at = AT_KEY;
    else if (a->at < AT_PAYLOAD && a->len > 0)
        a->at = AT_PAYLOAD;
    else
        a->at = AT_FIRST_BYTE;
    a->got = 0;
}

static void second_byte(struct work *w)
{
    unsigned n = w->data[0] & 127;

    w->a->masked = (w->data[0] & 0x80) != 0;
    w->a->length_size = n == 127 ? 8 : n == 126 ? 2 : 0;
    w->a->len = n < 126 ? n : 0;
    note_mask(w);
    note_length(w);
    consume(w, 1);
    advance(w->a);
}

/* How many of the next bytes belong to a part of `size` bytes, of which some may have come. */
static size_t part(const struct work *w, unsigned size)
{
    size_t wanted = size - w->a->got;

    return wanted < w->left ? wanted : w->left;
}

static void judge_length(struct work *w, struct field *f)
{
    uint64_t len = w->a->len;

    mean(f, "length %llu", (unsigned long long)len);
    if (len >> 63 != 0) {
        mean(f, "length %llu, but the first bit has to be 0", (unsigned long long)len);
        mark(w, f, "§5.2");
    } else if (len < 126 || (w->a->length_size == 8 && len <= 0xffff)) {
        mean(f, "length %llu, but not in its shortest form", (unsigned long long)len);
        mark(w, f, "§5.2");
    }
}

static void extended_length(struct work *w)
{
    size_t n = part(w, w->a->length_size);
    struct field *f = add_field(w, FIELD_EXTENDED_LENGTH, w->data, n, "§5.2");

    for (size_t i = 0; i < n; i++)
        w->a->len = w->a->len << 8 | w->data[i];
    w->a->got += (unsigned)n;
    consume(w, n);
    if (w->a->got < w->a->length_size) {
        mean(f, "%u of %u bytes", w->a->got, w->a->length_size);
        return;
    }
    judge_length(w, f);
    advance(w->a);
}

static void masking_key(struct work *w)
{
    size_t n = part(w, 4);
    struct field *f = add_field(w, FIELD_KEY, w->data, n, "§5.3");

    memcpy(w->a->key + w->a->got, w->data, n);
    w->a->got += (unsigned)n;
    consume(w, n);
    mean(f, "masking key");
    if (w->a->got < 4)
        mean(f, "masking key, %u of 4 bytes", w->a->got);
    else
        advance(w->a);
}

/* --- the payload ------------------------------------------------------------------------------ */

static const char *payload_section(unsigned opcode)
{
    switch (opcode) {
    case OP_CONTINUATION:
        return "§5.4";
    case OP_TEXT:
    case OP_BINARY:
        return "§5.6";
    case OP_CLOSE:
        return "§5.5.1";
    case OP_PING:
        return "§5.5.2";
    case OP_PONG:
        return "§5.5.3";
    default:
        return "§5.2";
    }
}

static const char *status_name(unsigned code)
{
    static const char *const names[] = {
        "normal closure",
        "going away",
        "protocol error",
        "unsupported data",
        "reserved",
        "means that no status came",
        "means that no Close came",
        "invalid payload data",
        "policy violation",
        "message too big",
        "mandatory extension",
        "internal error",
        "service restart",
        "try again later",
        "bad gateway",
        "means that TLS failed",
    };

    if (code >= 1000 && code < 1000 + sizeof names / sizeof names[0])
        return names[code - 1000];
    return code >= 3000 && code < 4000   ? "for libraries and frameworks"
           : code >= 4000 && code < 5000 ? "for private use"
                                         : "undefined";
}

static void note_status(struct work *w, const uint8_t *data, size_t len, bool derived)
{
    struct field *f = add_field(w, FIELD_STATUS, data, len, "§7.4");
    unsigned code = len == 2 ? (unsigned)data[0] << 8 | data[1] : 0;

    f->derived = derived;
    w->a->status = code;
    if (len < 2 && w->a->len >= 2) {
        mean(f, "1 of 2 bytes");
    } else if (len < 2) {
        mean(f, "half a status; it has 2 bytes");
        mark(w, f, "§5.5.1");
    } else if (!is_forbidden_status(code)) {
        mean(f, "status %u, %s", code, status_name(code));
    } else {
        mean(f, "status %u, %s, must not be sent", code, status_name(code));
        mark(w, f, "§7.4");
    }
}

/* What is said of payload in this event: all of it or a part. `before` bytes were in others. */
static void mean_payload(struct field *f, const struct work *w, uint64_t before, const char *what)
{
    unsigned long long len = w->a->len, from = before;

    if (f->len == len)
        mean(f, "%s", what);
    else
        mean(f, "%s, bytes %llu to %llu of %llu", what, from + 1, from + f->len, len);
}

/* A part of a text may be no UTF-8 where it is cut, so only the `whole` is judged. */
static void judge_text(struct work *w, struct field *f, bool whole)
{
    if (!whole || is_utf8(f->data, f->len))
        return;
    mean(f, "%s is not UTF-8", f->kind == FIELD_REASON ? "the reason" : "the text");
    mark(w, f, "§8.1");
}

static void note_reason(struct work *w, const uint8_t *data, size_t len, bool derived)
{
    struct field *f = add_field(w, FIELD_REASON, data, len, "§5.5.1");

    f->derived = derived;
    f->readable = true;
    mean(f, "reason");
    judge_text(w, f, len + 2 == w->a->len);
}

/* The payload that `data` is without a mask. */
static void note_plain(struct work *w, const uint8_t *data, size_t len, uint64_t before)
{
    struct annotator *a = w->a;
    bool derived = a->masked;
    struct field *f;

    if (a->opcode == OP_CLOSE && before == 0) {
        note_status(w, data, len < 2 ? len : 2, derived);
        if (len > 2)
            note_reason(w, data + 2, len - 2, derived);
        return;
    }
    f = add_field(w, derived ? FIELD_UNMASKED : FIELD_PAYLOAD, data, len,
                  payload_section(a->opcode));
    f->derived = derived;
    f->readable = true;
    mean_payload(f, w, before, a->opcode == OP_TEXT ? "text" : "data");
    if (a->opcode == OP_TEXT && a->fin)
        judge_text(w, f, len == a->len);
}

static const uint8_t *unmask(struct work *w, size_t len, uint64_t before)
{
    /* As far from its start as the bytes are on the wire, so that no two frames overlap. */
    uint8_t *to = w->out->unmasked + (w->data - w->out->frames[0].data);

    for (size_t i = 0; i < len; i++)
        to[i] = w->data[i] ^ w->a->key[(before + i) % 4];
    return to;
}

static void payload(struct work *w)
{
    struct annotator *a = w->a;
    uint64_t before = a->done;
    size_t n = a->len - before < w->left ? (size_t)(a->len - before) : w->left;
    const uint8_t *plain = w->data;

    if (a->masked) {
        struct field *f = add_field(w, FIELD_PAYLOAD, w->data, n, "§5.3");

        mean_payload(f, w, before, "masked");
        plain = unmask(w, n, before);
    }
    note_plain(w, plain, n, before);
    a->done += n;
    consume(w, n);
    if (a->done == a->len)
        advance(a);
}

/* --- the event -------------------------------------------------------------------------------- */

/* "text", "opcode 3", "Close 1002", "text, FIN=0, RSV=100" */
static void name_frame(char *out, size_t size, const struct annotator *a)
{
    char what[24];

    if (strcmp(opcode_name(a->opcode), "reserved") == 0)
        snprintf(what, sizeof what, "opcode %u", a->opcode);
    else if (a->status != 0)
        snprintf(what, sizeof what, "Close %u", a->status);
    else
        snprintf(what, sizeof what, "%s", opcode_name(a->opcode));
    snprintf(out, size, "%s%s", what, a->fin ? "" : ", FIN=0");
    if (a->rsv != 0)
        snprintf(out + strlen(out), size - strlen(out), ", RSV=%u%u%u", a->rsv >> 2 & 1,
                 a->rsv >> 1 & 1, a->rsv & 1);
}

static void entitle(struct work *w, bool goes_on)
{
    struct frame_note *f = this_frame(w);
    const struct annotator *a = w->a;
    char name[48];

    name_frame(name, sizeof name, a);
    if (goes_on)
        snprintf(f->title, sizeof f->title, "%s, goes on", name);
    else if (a->at == AT_SECOND_BYTE || a->at == AT_LENGTH)
        snprintf(f->title, sizeof f->title, "%s, part of the header", name);
    else
        snprintf(f->title, sizeof f->title, "%s, %llu byte%s%s", name, (unsigned long long)a->len,
                 a->len == 1 ? "" : "s", a->masked ? ", masked" : "");
}

static void take(struct work *w)
{
    switch (w->a->at) {
    case AT_FIRST_BYTE:
        first_byte(w);
        break;
    case AT_SECOND_BYTE:
        second_byte(w);
        break;
    case AT_LENGTH:
        extended_length(w);
        break;
    case AT_KEY:
        masking_key(w);
        break;
    case AT_PAYLOAD:
        payload(w);
        break;
    }
}

/* Take a frame, or what there is of it. */
static void take_frame(struct work *w)
{
    bool goes_on = w->a->at != AT_FIRST_BYTE;

    begin_frame(w);
    do
        take(w);
    while (w->left > 0 && w->a->at != AT_FIRST_BYTE);
    entitle(w, goes_on);
}

/* Bytes that were sent, but not kept: they belong to the payload, or it is unknown where a frame
 * begins, and then the next event is taken for one. */
static void skip(struct annotator *a, size_t more)
{
    if (more == 0)
        return;
    if (a->at != AT_PAYLOAD || a->len - a->done <= more)
        *a = (struct annotator){0};
    else
        a->done += more;
}

void annotate(struct annotation *out, struct annotator *a, const struct event *e)
{
    struct work w = {
        .out = out, .a = a, .sent = e->sent, .data = e->bytes.data, .left = e->bytes.len};
    struct annotator fresh = {0};

    assert((e->http || e->bytes.len <= EVENT_KEPT) && e->bytes.len <= e->total);
    out->frame_count = out->field_count = 0;
    out->more = e->total - e->bytes.len;
    if (e->http)
        *a = fresh;
    if (e->http || e->end)
        return;
    if (!e->sent) /* what comes is cut into frames before it is kept */
        w.a = &fresh;
    while (w.left > 0)
        take_frame(&w);
    skip(w.a, out->more);
}

/* --- HTTP ------------------------------------------------------------------------------------- */

/* One line, with what ends it. */
static void add_head_line(struct bytes *out, const uint8_t *line, size_t len, bool cut)
{
    bool crlf = len >= 2 && line[len - 2] == '\r' && line[len - 1] == '\n';

    add_visible(out, line, crlf && len > 2 ? len - 2 : len);
    if (line[len - 1] != '\n' && !cut)
        bytes_add_text(out, " (no line end)");
    bytes_add_text(out, "\n");
}

void add_head_lines(struct bytes *out, const struct event *e, const char *indent)
{
    const uint8_t *line = e->bytes.data;
    size_t left = e->bytes.len;
    size_t more = e->total - e->bytes.len;

    while (left > 0) {
        const uint8_t *end = memchr(line, '\n', left);
        size_t len = end == NULL ? left : (size_t)(end - line) + 1;

        bytes_add_text(out, indent);
        add_head_line(out, line, len, more > 0);
        line += len;
        left -= len;
    }
    if (more > 0)
        bytes_add_format(out, "%s... and %zu more bytes\n", indent, more);
}
