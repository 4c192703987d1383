/* SPDX-License-Identifier: MIT
 *
 * The system calls that a running server may make. The kernel ends the process at any other. */
#ifndef MINNOW_SECCOMP_H
#define MINNOW_SECCOMP_H

#include <stdbool.h>

/* What the process still has to do; bits. */
enum minnow_seccomp_need {
    MINNOW_SECCOMP_FILE = 1,  /* remove a Unix socket's file at the end */
    MINNOW_SECCOMP_REDIS = 2, /* connect to a Redis */
    MINNOW_SECCOMP_WORKER = 4 /* get connections from its parent, see minnow_worker.h */
};

/* From now on, for good, the process may only make the calls that a running server needs. Any other
 * one writes a line to stderr that names it, and ends the process by SIGSYS.
 *
 *   needs   enum minnow_seccomp_need, more than one by `|`
 *
 * Needs no_new_privs. Replaces the handler of SIGSYS. Returns 0, or an errno: then the kernel, or
 * the sandbox around this process, has refused, and nothing has changed. ENOSYS: this file does not
 * know the machine. */
int minnow_seccomp_enter(unsigned needs);

/* The same for the parent of workers, and all that it starts: the calls that neither of them needs
 * fail with EPERM, such as those that mount, trace, load modules, or make sockets connect or
 * listen; with `has_redis` connect is allowed. */
int minnow_seccomp_enter_parent(bool has_redis);

#endif
