/* SPDX-License-Identifier: MIT
 *
 * A case, and the script that it plays against a server: what is sent and what has to come, step by
 * step. The functions here only write the script down; run.c plays it. */
#ifndef CHECK_SCRIPT_H
#define CHECK_SCRIPT_H

#include "wire.h"

/* Each level has the cases of those before it, but for LEVEL_HTTP, which stands alone. */
enum level {
    LEVEL_HANDSHAKE,
    LEVEL_FRAMES,
    LEVEL_MESSAGES,
    LEVEL_CLOSING,
    LEVEL_UTF8,
    LEVEL_LIMITS,
    LEVEL_STRICT,
    LEVEL_HTTP,
    LEVELS
};

const char *level_name(enum level level);

enum step_kind {
    STEP_SEND,     /* `bytes`, in pieces of `chunk` bytes; 0: as they are */
    STEP_FIN,      /* our side is shut down */
    STEP_WAIT,     /* `ms` in which anything may come, and is kept for later steps */
    STEP_RESPONSE, /* an HTTP response with a status from `low` to `high` */
    STEP_HEADER,   /* that response has a field `name` as `match` says */
    STEP_MESSAGE,  /* the next message, whole or in fragments */
    STEP_PONG,     /* the next Pong */
    STEP_CLOSE,    /* a Close frame as the answer to ours, then the end of the TCP connection */
    STEP_FAILURE,  /* the server fails the connection, §7.1.7 */
    STEP_END,      /* the end of the TCP connection, with or without a Close frame before it */
    STEP_QUIET     /* for `ms` no message, no Close, no end */
};

enum match {
    MATCH_ABSENT,
    MATCH_ABSENT_OR_IS,
    MATCH_IS,       /* equal to the value, in any case */
    MATCH_EXACTLY,  /* equal, case and all */
    MATCH_HAS_TOKEN /* one of the items of a list, in any case */
};

struct step {
    enum step_kind kind;
    bool should;        /* where it does not go so, that is a warning */
    struct bytes bytes; /* STEP_SEND, STEP_MESSAGE, STEP_PONG; STEP_HEADER: a value and a NUL */
    size_t chunk;
    bool closes; /* STEP_SEND: with it our Close frame is sent */
    unsigned ms;
    int low, high;    /* of a status */
    bool or_end;      /* STEP_RESPONSE: the end of the connection will do as well */
    const char *name; /* of a field; a literal */
    const char *text; /* its value; a literal */
    enum match match;
    unsigned opcode; /* STEP_MESSAGE */
    unsigned code;   /* STEP_CLOSE, STEP_FAILURE: of the Close frame; 0: without one; */
    unsigned other;  /* another code that will do; */
    bool any_code;   /* or any that may be sent */
    bool may_answer; /* STEP_FAILURE, STEP_END: messages may come before it */
};

struct script {
    struct step *steps;
    size_t count;
    size_t cap;
    size_t chunk;     /* of the sends that follow */
    const char *host; /* for Host, as in the URL */
    const char *path; /* of the URL, with its query */
};

/* What a case is. Texts are literals. */
struct check_case {
    char name[72]; /* "level/subject/variant" */
    enum level level;
    const char *section; /* "RFC 6455 §5.5.2" */
    const char *demand;  /* what it demands of a server, in one sentence */
    const char *hint;    /* where beginners go wrong, or NULL */
    void (*build)(struct script *s, const struct check_case *c);
    long a, b;     /* for build() */
    const void *p; /* the same */
};

struct suite {
    struct check_case *cases;
    size_t count;
    size_t cap;
};

/* Append a case that is `like` but for its name, which is made as by printf(). */
void suite_add(struct suite *suite, const struct check_case *like, const char *name, ...)
    __attribute__((format(printf, 3, 4)));

/* Each adds the cases of its file. */
void add_handshake_cases(struct suite *suite);
void add_frame_cases(struct suite *suite);
void add_message_cases(struct suite *suite);
void add_closing_cases(struct suite *suite);
void add_utf8_cases(struct suite *suite);
void add_limit_cases(struct suite *suite);
void add_strict_cases(struct suite *suite);
void add_http_cases(struct suite *suite);

void script_release(struct script *s);

/* --- sending ---------------------------------------------------------------------------------- */

/* From here on what is sent is cut into pieces of `len` bytes, each a segment of its own; 0: it is
 * not cut. The first ones are sent some ms apart, so that the server reads them one by one. */
void in_pieces(struct script *s, size_t len);
void send_bytes(struct script *s, const void *data, size_t len);
void send_line(struct script *s, const char *format, ...) /* and CRLF */
    __attribute__((format(printf, 2, 3)));
/* Text in which `%1$s` stands for the path of the URL, and `%2$s` for its host. */
void send_template(struct script *s, const char *text);
void send_frame(struct script *s, const struct out_frame *f);
void send_message(struct script *s, unsigned opcode, const void *data, size_t len); /* one frame */
void send_text(struct script *s, const char *text);
void send_part(struct script *s, unsigned opcode, bool fin, const char *text); /* a fragment */
void send_ping(struct script *s, const char *text);
void send_close(struct script *s, unsigned code, const char *reason); /* 0: without a status */
void send_fin(struct script *s);
void wait_ms(struct script *s, unsigned ms);

/* --- the opening handshake -------------------------------------------------------------------- */

/* The key of every handshake here, which is the one of RFC 6455 §1.3. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

/* The four lines that every handshake has, without the empty line behind them. */
void send_upgrade_head(struct script *s);
/* A whole handshake, and 101 as its answer. */
void open_websocket(struct script *s);

/* --- expecting: each returns its step, to be changed ------------------------------------------ */

struct step *expect_status(struct script *s, int low, int high);
struct step *expect_header(struct script *s, const char *name, enum match match, const char *text);
struct step *expect_message(struct script *s, unsigned opcode, const void *data, size_t len);
struct step *expect_text(struct script *s, const char *text);
struct step *expect_pong(struct script *s, const char *text);
/* The answer to our Close, with the same code (0: without one), and the end. */
struct step *expect_close(struct script *s, unsigned code);
/* The server fails the connection with that code. */
struct step *expect_failure(struct script *s, unsigned code);
struct step *expect_end(struct script *s);
struct step *expect_quiet(struct script *s, unsigned ms);
/* A message is sent and comes back: the connection goes on. */
void expect_echo(struct script *s, unsigned opcode, const void *data, size_t len);
void expect_alive(struct script *s);

/* `len` bytes of text, or of anything, that are not the same everywhere. malloc'd. */
uint8_t *made_up(size_t len, bool text);

#endif
