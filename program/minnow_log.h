/* SPDX-License-Identifier: MIT
 *
 * Lines for stdout and stderr, written without waiting for their reader: a pipe may be full, a
 * terminal stopped by Ctrl-S, a disk full. What cannot be written yet is kept, up to
 * MINNOW_LOG_KEPT bytes. Lines beyond that are dropped and counted, and one line in their place
 * says how many. Of a line that was written in part the rest is written first.
 *
 * It does wait for a disk: a regular file is written by plain write(). It uses nothing of the
 * server. The program has to ignore SIGPIPE and SIGXFSZ. */
#ifndef MINNOW_LOG_H
#define MINNOW_LOG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    MINNOW_LOG_LINE = PIPE_BUF, /* with its newline; what a pipe takes whole or not at all */
    MINNOW_LOG_KEPT = 64 * 1024,
    MINNOW_LOG_BEGINNING = 200 /* bytes of a path, say, which a peer makes as long as it likes */
};

/* How to write without waiting; it depends on what the descriptor is. */
enum minnow_log_way {
    MINNOW_LOG_PLAIN,  /* write(): a file, or a descriptor of our own that does not block */
    MINNOW_LOG_POLLED, /* only when poll() says so, at most PIPE_BUF bytes */
    MINNOW_LOG_SOCKET  /* send() with MSG_DONTWAIT */
};

/* In place; no field is the user's to touch. */
struct minnow_log {
    int fd;
    bool is_own; /* opened by us, and ours to close */
    enum minnow_log_way way;
    unsigned long long dropped; /* lines since the last one kept */
    int why;                    /* errno of when the first of them was dropped */
    bool is_cut;                /* the line was longer than MINNOW_LOG_LINE */
    size_t line_len;
    size_t kept_len;
    char line[MINNOW_LOG_LINE]; /* the one that is being composed */
    char kept[MINNOW_LOG_KEPT]; /* complete lines, the first perhaps without its beginning */
};

/* Log to `fd`, which is borrowed and stays as it is: its O_NONBLOCK is shared with all who have
 * inherited it, the shell too, and so is never set. A closed `fd` is allowed, and nothing comes out
 * of it. */
void minnow_log_init(struct minnow_log *log, int fd);

/* Write what can be written, and forget the rest. */
void minnow_log_release(struct minnow_log *log);

/* Append to the line that is being composed. A line longer than MINNOW_LOG_LINE ends in "...". */
__attribute__((format(printf, 2, 3))) void minnow_log_add(struct minnow_log *log,
                                                          const char *format, ...);

/* The same for text of a peer, which must not drive the terminal or forge a line: control
 * characters, those that UTF-8 writes as C2 80 to C2 9F too, become '?'. */
void minnow_log_add_text(struct minnow_log *log, const char *text, size_t len);

/* The same for the first MINNOW_LOG_BEGINNING bytes of it, and "..." if there are more. `len` may
 * be more than what `text` has. */
void minnow_log_add_beginning(struct minnow_log *log, const char *text, size_t len);

/* The line is complete; it is kept for minnow_log_flush(), or dropped. Without a newline. */
void minnow_log_end(struct minnow_log *log);

/* Write what is kept. Returns 0 when nothing is left, else the errno for which it is: EAGAIN, it
 * would have to wait. Worth another try at any time. */
int minnow_log_flush(struct minnow_log *log);

#endif
