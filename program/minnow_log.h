/* SPDX-License-Identifier: MIT
 *
 * Lines for stdout and stderr, written without blocking: the pipe may be full, the terminal stopped
 * by Ctrl-S, the disk full. Lines that cannot be written yet are kept, up to MINNOW_LOG_KEPT bytes.
 * Further lines are dropped and counted, and one line in their place gives their number. If a line
 * was written in part, its rest is written next, before any other line.
 *
 * A write to a regular file still waits for the disk. This file does not know servers. The caller
 * must ignore SIGPIPE and SIGXFSZ. */
#ifndef MINNOW_LOG_H
#define MINNOW_LOG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    MINNOW_LOG_LINE = PIPE_BUF, /* with its newline; a pipe accepts this at once */
    MINNOW_LOG_KEPT = 64 * 1024,
    MINNOW_LOG_BEGINNING = 200 /* bytes of a text whose length a peer chooses, such as a path */
};

/* How to write without blocking; it depends on the kind of descriptor. */
enum minnow_log_way {
    MINNOW_LOG_PLAIN,  /* write(): a file, or a non-blocking descriptor of our own */
    MINNOW_LOG_POLLED, /* only when poll() says so, at most PIPE_BUF bytes */
    MINNOW_LOG_SOCKET  /* send() with MSG_DONTWAIT */
};

/* In place. The caller must not use its fields. */
struct minnow_log {
    int fd;
    bool is_own; /* opened here, so it is closed here */
    enum minnow_log_way way;
    unsigned long long dropped; /* number of lines dropped since the last one that was kept */
    int why;                    /* errno of when the first of them was dropped */
    bool is_cut;                /* the line was longer than MINNOW_LOG_LINE */
    size_t line_len;
    size_t kept_len;
    char line[MINNOW_LOG_LINE]; /* the line that is being composed */
    char kept[MINNOW_LOG_KEPT]; /* complete lines; of the first one a part may be written already */
};

/* Write to `fd`, which is borrowed and not changed: O_NONBLOCK would be shared with all processes
 * that have inherited it, the shell too, so it is not set. `fd` may be closed; then nothing is
 * written. */
void minnow_log_init(struct minnow_log *log, int fd);

/* Write what can be written now, and drop the rest. */
void minnow_log_release(struct minnow_log *log);

/* Append to the line that is being composed. A line longer than MINNOW_LOG_LINE ends in "...". */
__attribute__((format(printf, 2, 3))) void minnow_log_add(struct minnow_log *log,
                                                          const char *format, ...);

/* The same for text from a peer, which must not control the terminal or forge a line: control
 * characters, also those that UTF-8 encodes as C2 80 to C2 9F, become '?'. */
void minnow_log_add_text(struct minnow_log *log, const char *text, size_t len);

/* The same for the first MINNOW_LOG_BEGINNING bytes of the text, and "..." if there are more.
 * `text` needs to have only that many bytes, even if `len` is more. */
void minnow_log_add_beginning(struct minnow_log *log, const char *text, size_t len);

/* End the line, which was composed without a newline: it is kept for minnow_log_flush(), or
 * dropped. */
void minnow_log_end(struct minnow_log *log);

/* Forget the line that is being composed. */
void minnow_log_drop(struct minnow_log *log);

/* The same; its text, as much as fits `size`, and a NUL are in `out`. */
void minnow_log_take(struct minnow_log *log, char *out, size_t size);

/* Write the kept lines. Returns 0 when none is left, else the errno of the failure; EAGAIN: it
 * would have to wait. It may be called again at any time. */
int minnow_log_flush(struct minnow_log *log);

#endif
