/* SPDX-License-Identifier: MIT
 *
 * Takes file system and network away from the process. Open descriptors keep working. */
#ifndef MINNOW_LANDLOCK_H
#define MINNOW_LANDLOCK_H

#include <stdbool.h>

/* In place. */
struct minnow_landlock {
    int version; /* of what the kernel can do: Landlock's ABI */
    int ruleset; /* descriptor; -1: there is none, see `error` */
    int error;   /* errno; 0: none */
};

/* Prepare it, with the rights that the process has until now: from minnow_landlock_enter() on
 * nothing can be opened, made or removed but the Unix sockets in `addresses`, which ends with NULL
 * and may have other addresses too. More exactly, a file of their directories and below can be
 * removed: Landlock has no rule for one name. No TCP connection can be made but to the ports in the
 * URLs of `redis`, which ends with NULL, on any host. `is_parent`: files may still be read and
 * executed. */
void minnow_landlock_init(struct minnow_landlock *l, const char *const *addresses,
                          const char *const *redis, bool is_parent);

/* Needs no_new_privs. Where it fails, or minnow_landlock_init() has failed, `l->error` says why,
 * and nothing has changed. */
void minnow_landlock_enter(struct minnow_landlock *l);

/* May be called at any time after minnow_landlock_init(). */
void minnow_landlock_release(struct minnow_landlock *l);

#endif
