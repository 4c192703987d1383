/* SPDX-License-Identifier: MIT
 *
 * What several of the reports have in common; see report_parts.h. */
#include "report_parts.h"

#include <string.h>

#include "report_escape.h"

enum { TEXT_SHOWN = 48 /* bytes of a payload */ };

bool goes_on(const struct result *r, size_t i)
{
    const struct event *e = &r->events[i];

    return i > 0 && e->http && !e->end && e[-1].http && !e[-1].end && e->sent == e[-1].sent;
}

bool may_have_gap(const struct result *r, size_t i)
{
    return r->dropped > 0 && i == EVENTS_KEPT - 1;
}

size_t first_shown(const struct result *r, size_t *left_out)
{
    size_t first = 0;
    size_t turns = 0;

    for (size_t i = r->event_count; i > 0; i--) {
        if (goes_on(r, i - 1))
            continue;
        if (++turns == TURNS_SHOWN)
            first = i - 1;
    }
    *left_out = turns > TURNS_SHOWN ? turns - TURNS_SHOWN : 0;
    return first;
}

const char *end_name(const struct event *e)
{
    return e->sent ? "end of what we send (FIN)" : "end of the TCP connection";
}

/* "Hello" behind the title of a frame; no more than fits a line. */
static void add_quoted(struct bytes *out, const struct field *f)
{
    size_t len = f->len < TEXT_SHOWN ? f->len : TEXT_SHOWN;

    bytes_add_text(out, " \"");
    add_visible(out, f->data, len);
    bytes_add_text(out, len < f->len ? "\"..." : "\"");
}

void add_title(struct bytes *out, const struct annotation *a, const struct frame_note *frame)
{
    bytes_add_text(out, frame->title);
    for (size_t i = 0; i < frame->count; i++)
        if (a->fields[frame->first + i].readable)
            add_quoted(out, &a->fields[frame->first + i]);
}

void add_command(struct bytes *out, const struct report *r, const struct check_case *c)
{
    bytes_add_text(out, "wscheck --only ");
    add_shell_word(out, c->name);
    bytes_add_text(out, " ");
    add_shell_word(out, r->url);
}

const char *command_text(struct bytes *b, const struct report *r, const struct check_case *c)
{
    add_command(b, r, c);
    bytes_add(b, "", 1);
    return (const char *)b->data;
}

size_t report_count(const struct report *r, enum level level, enum verdict verdict)
{
    size_t n = 0;

    for (size_t i = 0; i < r->count; i++)
        n += r->results[i].of->level == level && r->results[i].verdict == verdict;
    return n;
}

size_t count_all(const struct report *r, enum verdict verdict)
{
    size_t n = 0;

    for (size_t i = 0; i < r->count; i++)
        n += r->results[i].verdict == verdict;
    return n;
}

size_t count_level(const struct report *r, enum level level)
{
    size_t n = 0;

    for (size_t i = 0; i < r->count; i++)
        n += r->results[i].of->level == level;
    return n;
}

/* --- the conversation as text ----------------------------------------------------------------- */

enum { FRAMES_SHOWN = 8, HEX_SHOWN = 16 };

#define DIM "\033[2m"
#define ODD "\033[33m"
#define OFF "\033[0m"

/* Lines that are under way, and how they look. */
struct lines {
    struct bytes *out;
    const char *indent;
    bool colour;
};

static const char margin[] = "          "; /* as wide as "received  " */

static void paint(const struct lines *l, const char *code)
{
    if (l->colour)
        bytes_add_text(l->out, code);
}

static void begin_line(const struct lines *l, const char *who)
{
    bytes_add_text(l->out, l->indent);
    bytes_add_format(l->out, "%-*s", (int)sizeof margin - 1, who);
}

static const char *who(const struct event *e)
{
    return e->sent ? "sent" : "received";
}

/* "81 85 | key 37 fa 21 3d | payload 7f 9f 4d 51 58"; `more` bytes behind it were not kept. */
static void add_wire(const struct lines *l, const struct annotation *a,
                     const struct frame_note *frame, size_t more)
{
    size_t left = HEX_SHOWN;

    begin_line(l, "");
    paint(l, DIM);
    for (size_t i = 0; i < frame->count; i++) {
        const struct field *f = &a->fields[frame->first + i];
        size_t len = f->len < left ? f->len : left;
        bool first_of_byte = f->kind == FIELD_FIN || f->kind == FIELD_MASK;

        if (f->derived || (f->bits != 0 && !first_of_byte) || left == 0)
            continue;
        if (f->data > frame->data)
            bytes_add_text(l->out, f->bits != 0 ? " " : " | ");
        if (f->bits == 0)
            bytes_add_format(l->out, "%s ", field_name(f->kind));
        add_hex(l->out, f->data, len);
        left -= len;
    }
    more += frame->len > HEX_SHOWN ? frame->len - HEX_SHOWN : 0;
    if (more > 0)
        bytes_add_format(l->out, " ... %zu more", more);
    paint(l, OFF);
    bytes_add_text(l->out, "\n");
}

/* The fields that break a rule. */
static void add_odd_fields(const struct lines *l, const struct annotation *a,
                           const struct frame_note *frame)
{
    for (size_t i = 0; i < frame->count; i++) {
        const struct field *f = &a->fields[frame->first + i];

        if (!f->odd)
            continue;
        begin_line(l, "");
        paint(l, ODD);
        bytes_add_format(l->out, "! %s (%s)", f->meaning, f->section);
        paint(l, OFF);
        bytes_add_text(l->out, "\n");
    }
}

static void add_frames(const struct lines *l, const struct event *e, const struct annotation *a)
{
    for (size_t i = 0; i < a->frame_count && i < FRAMES_SHOWN; i++) {
        begin_line(l, i == 0 ? who(e) : "");
        add_title(l->out, a, &a->frames[i]);
        bytes_add_text(l->out, "\n");
        add_wire(l, a, &a->frames[i], i + 1 == a->frame_count ? a->more : 0);
        add_odd_fields(l, a, &a->frames[i]);
    }
    if (a->frame_count > FRAMES_SHOWN) {
        begin_line(l, "");
        bytes_add_format(l->out, "... and %zu more frames", a->frame_count - FRAMES_SHOWN);
        if (a->more > 0)
            bytes_add_format(l->out, " and %zu more bytes", a->more);
        bytes_add_text(l->out, "\n");
    }
}

/* Lines of a head, the first of them behind `sent` or `received`. */
static void add_head(const struct lines *l, const struct event *e, bool first)
{
    struct bytes indent = {0};
    size_t at = l->out->len + strlen(l->indent);

    bytes_add_format(&indent, "%s%s", l->indent, margin);
    bytes_add(&indent, "", 1);
    add_head_lines(l->out, e, (const char *)indent.data);
    bytes_release(&indent);
    if (first && l->out->len > at)
        memcpy(l->out->data + at, who(e), strlen(who(e)));
}

/* Where the opening handshake is not what a case is about, the first line of a head will do. */
static void add_first_line(const struct lines *l, const struct event *e)
{
    const uint8_t *end = e->bytes.len == 0 ? NULL : memchr(e->bytes.data, '\r', e->bytes.len);

    begin_line(l, who(e));
    add_visible(l->out, e->bytes.data, end == NULL ? e->bytes.len : (size_t)(end - e->bytes.data));
    bytes_add_text(l->out, " ...\n");
}

static bool is_about_http(const struct result *r)
{
    return r->of->level == LEVEL_HANDSHAKE || r->of->level == LEVEL_HTTP;
}

static void add_event(const struct lines *l, const struct result *r, size_t i,
                      const struct annotation *a)
{
    const struct event *e = &r->events[i];

    if (may_have_gap(r, i))
        bytes_add_format(l->out, "%s... and whatever came before the last event\n", l->indent);
    if (e->end) {
        begin_line(l, who(e));
        bytes_add_format(l->out, "%s\n", end_name(e));
    } else if (e->http && is_about_http(r)) {
        add_head(l, e, !goes_on(r, i));
    } else if (e->http) {
        if (!goes_on(r, i))
            add_first_line(l, e);
    } else {
        add_frames(l, e, a);
    }
}

void add_conversation(struct bytes *out, const struct result *r, const char *indent, bool colour)
{
    struct lines l = {.out = out, .indent = indent, .colour = colour};
    struct annotator annotator = {0};
    struct annotation a;
    size_t left_out;
    size_t first = first_shown(r, &left_out);

    if (left_out > 0)
        bytes_add_format(out, "%s... %zu before, not shown\n", indent, left_out);
    for (size_t i = 0; i < r->event_count; i++) {
        if (may_have_gap(r, i))
            annotator = (struct annotator){0};
        annotate(&a, &annotator, &r->events[i]);
        if (i >= first)
            add_event(&l, r, i, &a);
    }
}
