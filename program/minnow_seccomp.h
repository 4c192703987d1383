/* SPDX-License-Identifier: MIT
 *
 * The system calls that a running server may make. The kernel ends the process at any other. */
#ifndef MINNOW_SECCOMP_H
#define MINNOW_SECCOMP_H

#include <stdbool.h>

/* From now on, for good, the process may only make the calls that a running server needs. Any other
 * one writes a line to stderr that names it, and ends the process by SIGSYS.
 *
 *   has_file    a Unix socket's file will be removed at the end
 *   has_redis   connections to a Redis will be made
 *
 * Needs no_new_privs. Replaces the handler of SIGSYS. Returns 0, or an errno: then the kernel, or
 * the sandbox around this process, has refused, and nothing has changed. ENOSYS: this file does not
 * know the machine. */
int minnow_seccomp_enter(bool has_file, bool has_redis);

#endif
