/* SPDX-License-Identifier: MIT
 *
 * What the process gives up once it listens; see minnow_sandbox.h. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "minnow_sandbox.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>

#include "minnow_kernel.h"
#include "minnow_options.h"
#include "minnow_seccomp.h"

void minnow_sandbox_init(struct minnow_sandbox *s, const char *const *addresses,
                         const char *const *redis, bool is_worker)
{
    *s = (struct minnow_sandbox){.needs = is_worker ? MINNOW_SECCOMP_WORKER : 0};
    s->needs |= redis[0] != NULL ? MINNOW_SECCOMP_REDIS : 0;
    for (size_t i = 0; addresses[i] != NULL; i++)
        s->needs |= minnow_is_unix(addresses[i]) ? MINNOW_SECCOMP_FILE : 0;
    minnow_landlock_init(&s->landlock, addresses, redis, false);
}

/* The filter comes last, since it forbids the calls of the other steps. */
void minnow_sandbox_enter(struct minnow_sandbox *s)
{
    s->privs_error = prctl(KERNEL_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 ? 0 : errno;
    minnow_landlock_enter(&s->landlock);
    s->seccomp_error = minnow_seccomp_enter(s->needs);
}

void minnow_sandbox_enter_parent(struct minnow_sandbox *s, const char *const *addresses,
                                 const char *const *redis)
{
    *s = (struct minnow_sandbox){.needs = 0};
    minnow_landlock_init(&s->landlock, addresses, redis, true);
    s->privs_error = prctl(KERNEL_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0 ? 0 : errno;
    minnow_landlock_enter(&s->landlock);
    s->seccomp_error = minnow_seccomp_enter_parent(redis[0] != NULL);
}

static void say_errors(const struct minnow_sandbox *s, struct minnow_log *log)
{
    if (s->seccomp_error != 0)
        minnow_log_add(log, "; no seccomp: %s", strerror(s->seccomp_error));
    if (s->landlock.error != 0)
        minnow_log_add(log, "; no landlock: %s", strerror(s->landlock.error));
    if (s->privs_error != 0)
        minnow_log_add(log, "; no no_new_privs: %s", strerror(s->privs_error));
}

void minnow_sandbox_say(const struct minnow_sandbox *s, struct minnow_log *log)
{
    const char *comma = "";

    if (s->seccomp_error == 0) {
        minnow_log_add(log, "seccomp");
        comma = ", ";
    }
    if (s->landlock.error == 0) {
        minnow_log_add(log, "%slandlock %d", comma, s->landlock.version);
        comma = ", ";
    }
    if (s->privs_error == 0)
        minnow_log_add(log, "%sno_new_privs", comma);
    else if (*comma == '\0')
        minnow_log_add(log, "none");
    say_errors(s, log);
}
