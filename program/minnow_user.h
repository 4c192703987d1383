/* SPDX-License-Identifier: MIT
 *
 * --user: the user that a server which was started by root becomes once it listens. */
#ifndef MINNOW_USER_H
#define MINNOW_USER_H

#include <sys/types.h>

/* In place. All zero: none is given, since it cannot be root. */
struct minnow_user {
    uid_t uid;
    gid_t gid;
};

/* Look up NAME or NAME:GROUP; each of them may be a number. Without GROUP it is the user's own.
 * Returns NULL, or why not, in words that can follow the value. */
const char *minnow_user_find(struct minnow_user *user, const char *text);

/* Let it own the files of the Unix sockets in `addresses`, which end with NULL and may have others
 * too: then the mode of a socket lets its group in, and where the directory is sticky the user may
 * remove it. Returns NULL, or the address that failed, with errno. */
const char *minnow_user_own(const struct minnow_user *user, const char *const *addresses);

/* Become this user, for good, without any other group. Returns NULL, or why not: then the process
 * may be neither the one nor the other, and must end. */
const char *minnow_user_become(const struct minnow_user *user);

#endif
