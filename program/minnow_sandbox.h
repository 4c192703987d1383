/* SPDX-License-Identifier: MIT
 *
 * What the process gives up once it listens: new privileges, the file system, connections to
 * others, and most system calls. What the kernel cannot do, or the sandbox around this process
 * forbids, is left out. docs/security.md */
#ifndef MINNOW_SANDBOX_H
#define MINNOW_SANDBOX_H

#include <stdbool.h>

#include "minnow_landlock.h"
#include "minnow_log.h"

/* The reports of a sanitizer use files, and need more system calls, such as ptrace. The counters of
 * `make coverage`, which sets this, are written to files at the end. A test sets this to 0, to see
 * the sandbox as it is without. */
#ifndef MINNOW_SANDBOX_WIDE
#if defined(__SANITIZE_ADDRESS__)
#define MINNOW_SANDBOX_WIDE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MINNOW_SANDBOX_WIDE 1
#endif
#endif
#endif
#ifndef MINNOW_SANDBOX_WIDE
#define MINNOW_SANDBOX_WIDE 0
#endif

/* In place. */
struct minnow_sandbox {
    struct minnow_landlock landlock;
    unsigned needs;    /* enum minnow_seccomp_need */
    int privs_error;   /* errno; 0: no_new_privs is set */
    int seccomp_error; /* errno; 0: the filter is active */
};

/* Prepare it, while the process may still open the directories of `addresses`, where it listens;
 * and of the URLs `redis`, to which it connects; see minnow_landlock_init(). */
void minnow_sandbox_init(struct minnow_sandbox *s, const char *const *addresses,
                         const char *const *redis, bool is_worker);

/* From now on, for good. The errors in `s` say what could not be done. */
void minnow_sandbox_enter(struct minnow_sandbox *s);

/* Prepare and enter that of a parent, which starts workers: it gives up what neither of them needs.
 * The errors in `s` say what could not be done. */
void minnow_sandbox_enter_parent(struct minnow_sandbox *s, const char *const *addresses,
                                 const char *const *redis);

/* Add to the line what is active, and why something is not: "seccomp, landlock 7, no_new_privs". */
void minnow_sandbox_say(const struct minnow_sandbox *s, struct minnow_log *log);

#endif
