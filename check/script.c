/* SPDX-License-Identifier: MIT
 *
 * Scripts are written down here; see script.h. */
#include "script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(void *old, size_t size)
{
    void *p = realloc(old, size);

    if (p == NULL) {
        fputs("wscheck: out of memory\n", stderr);
        exit(2);
    }
    return p;
}

const char *level_name(enum level level)
{
    static const char *const names[LEVELS] = {"handshake", "frames", "messages", "closing",
                                              "utf8",      "limits", "strict",   "http"};

    return names[level];
}

void suite_add(struct suite *suite, const struct check_case *like, const char *name, ...)
{
    struct check_case *c;
    va_list args;

    if (suite->count == suite->cap) {
        suite->cap = suite->cap == 0 ? 256 : 2 * suite->cap;
        suite->cases = allocate(suite->cases, suite->cap * sizeof *suite->cases);
    }
    c = &suite->cases[suite->count++];
    *c = *like;
    va_start(args, name);
    vsnprintf(c->name, sizeof c->name, name, args);
    va_end(args);
}

static struct step *add_step(struct script *s, enum step_kind kind)
{
    struct step *step;

    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 16 : 2 * s->cap;
        s->steps = allocate(s->steps, s->cap * sizeof *s->steps);
    }
    step = &s->steps[s->count++];
    *step = (struct step){.kind = kind};
    return step;
}

void script_release(struct script *s)
{
    for (size_t i = 0; i < s->count; i++)
        bytes_release(&s->steps[i].bytes);
    free(s->steps);
    s->steps = NULL;
    s->count = s->cap = 0;
}

/* --- sending ---------------------------------------------------------------------------------- */

static struct step *add_send(struct script *s)
{
    struct step *step = add_step(s, STEP_SEND);

    step->chunk = s->chunk;
    return step;
}

void in_pieces(struct script *s, size_t len)
{
    s->chunk = len;
}

enum { APART = 8, APART_MS = 2 };

/* Make the send that was added last several ones, with pauses between them. */
static void set_apart(struct script *s)
{
    struct step whole = s->steps[s->count - 1];
    size_t at = 0;

    if (s->chunk == 0)
        return;
    s->count--;
    for (int i = 0; i < APART && whole.bytes.len - at > s->chunk; i++, at += s->chunk) {
        bytes_add(&add_send(s)->bytes, whole.bytes.data + at, s->chunk);
        wait_ms(s, APART_MS);
    }
    bytes_add(&add_send(s)->bytes, whole.bytes.data + at, whole.bytes.len - at);
    s->steps[s->count - 1].closes = whole.closes;
    bytes_release(&whole.bytes);
}

void send_bytes(struct script *s, const void *data, size_t len)
{
    bytes_add(&add_send(s)->bytes, data, len);
    set_apart(s);
}

/* Not by printf(): a text may have the host alone, and the C library may refuse a format that skips
 * an argument. */
void send_template(struct script *s, const char *text)
{
    struct bytes all = {0};
    size_t len;

    while (len = strcspn(text, "%"), text[len] != '\0') {
        bytes_add(&all, text, len);
        bytes_add_text(&all, text[len + 1] == '1' ? s->path : s->host);
        text += len + strlen("%1$s");
    }
    bytes_add(&all, text, len);
    send_bytes(s, all.data, all.len);
    bytes_release(&all);
}

void send_line(struct script *s, const char *format, ...)
{
    char line[4096];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line - 2, format, args);
    va_end(args);
    strcat(line, "\r\n");
    send_bytes(s, line, strlen(line));
}

void send_frame(struct script *s, const struct out_frame *f)
{
    struct step *step = add_send(s);

    frame_write(&step->bytes, f);
    step->closes = f->opcode == OP_CLOSE;
    set_apart(s);
}

void send_message(struct script *s, unsigned opcode, const void *data, size_t len)
{
    send_frame(s, &(struct out_frame){.opcode = opcode, .fin = true, .payload = data, .len = len});
}

void send_text(struct script *s, const char *text)
{
    send_message(s, OP_TEXT, text, strlen(text));
}

void send_part(struct script *s, unsigned opcode, bool fin, const char *text)
{
    send_frame(
        s, &(struct out_frame){.opcode = opcode, .fin = fin, .payload = text, .len = strlen(text)});
}

void send_ping(struct script *s, const char *text)
{
    send_message(s, OP_PING, text, strlen(text));
}

void send_close(struct script *s, unsigned code, const char *reason)
{
    struct bytes payload = {0};
    uint8_t status[2] = {(uint8_t)(code >> 8), (uint8_t)code};

    if (code != 0)
        bytes_add(&payload, status, 2);
    bytes_add_text(&payload, reason);
    send_message(s, OP_CLOSE, payload.data, payload.len);
    bytes_release(&payload);
}

void send_fin(struct script *s)
{
    add_step(s, STEP_FIN);
}

void wait_ms(struct script *s, unsigned ms)
{
    add_step(s, STEP_WAIT)->ms = ms;
}

/* --- the opening handshake -------------------------------------------------------------------- */

void send_upgrade_head(struct script *s)
{
    send_line(s,
              "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13",
              s->path, s->host);
}

void open_websocket(struct script *s)
{
    size_t chunk = s->chunk;

    in_pieces(s, 0);
    send_upgrade_head(s);
    bytes_add_text(&s->steps[s->count - 1].bytes, "\r\n");
    expect_status(s, 101, 101);
    in_pieces(s, chunk);
}

/* --- expecting -------------------------------------------------------------------------------- */

struct step *expect_status(struct script *s, int low, int high)
{
    struct step *step = add_step(s, STEP_RESPONSE);

    step->low = low;
    step->high = high;
    return step;
}

struct step *expect_header(struct script *s, const char *name, enum match match, const char *text)
{
    struct step *step = add_step(s, STEP_HEADER);

    step->name = name;
    step->match = match;
    bytes_add(&step->bytes, text, text == NULL ? 0 : strlen(text) + 1);
    return step;
}

struct step *expect_message(struct script *s, unsigned opcode, const void *data, size_t len)
{
    struct step *step = add_step(s, STEP_MESSAGE);

    step->opcode = opcode;
    bytes_add(&step->bytes, data, len);
    return step;
}

struct step *expect_text(struct script *s, const char *text)
{
    return expect_message(s, OP_TEXT, text, strlen(text));
}

struct step *expect_pong(struct script *s, const char *text)
{
    struct step *step = add_step(s, STEP_PONG);

    bytes_add_text(&step->bytes, text);
    return step;
}

struct step *expect_close(struct script *s, unsigned code)
{
    struct step *step = add_step(s, STEP_CLOSE);

    step->code = code;
    return step;
}

struct step *expect_failure(struct script *s, unsigned code)
{
    struct step *step = add_step(s, STEP_FAILURE);

    step->code = code;
    return step;
}

struct step *expect_end(struct script *s)
{
    return add_step(s, STEP_END);
}

struct step *expect_quiet(struct script *s, unsigned ms)
{
    struct step *step = add_step(s, STEP_QUIET);

    step->ms = ms;
    return step;
}

void expect_echo(struct script *s, unsigned opcode, const void *data, size_t len)
{
    send_message(s, opcode, data, len);
    expect_message(s, opcode, data, len);
}

void expect_alive(struct script *s)
{
    expect_echo(s, OP_TEXT, "still here?", 11);
}

uint8_t *made_up(size_t len, bool text)
{
    uint8_t *data = allocate(NULL, len + 1);

    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));

        data[i] = text ? (uint8_t)(' ' + byte % 95) : byte;
    }
    return data;
}
