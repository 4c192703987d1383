/* SPDX-License-Identifier: MIT
 *
 * Rooms: named sets of members. A room exists while it has members. Members of a room lie side by
 * side in an array, so that a broadcast walks memory in order. Pure: a member is any pointer.
 *
 * A member's seat counts in the account of the member; a room in its own account, below the host of
 * the member that opened it, for the room may outlive that membership. */
#ifndef ROOM_H
#define ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "host.h"
#include "table.h"
#include "ws_str.h"

/* A member that joins, and what its seat keeps. */
struct room_member {
    void *member;
    struct account *account; /* lives as long as the membership */
    struct host *host;       /* NULL: none */
};

/* One membership, linked to the other memberships of the same member. */
struct room_seat {
    struct room_seat *next;
    struct room_seat **link; /* what points at this seat in the member's list */
    struct room *room;
    void *member;
    struct account *account; /* in which this is counted */
    size_t index;            /* in room->seats */
};

struct room {
    struct table_entry entry; /* first, as table.h requires */
    struct account account;
    struct host *host;        /* one reference; NULL: none */
    struct room_seat **seats; /* count in use of cap */
    size_t count;
    size_t cap;
    size_t name_len;
    char name[]; /* no NUL */
};

/* Who is told of rooms that begin and end. They may call nothing that changes a room. All zero:
 * nobody. */
struct room_notice {
    bool (*begins)(void *arg, struct ws_str name); /* false: it is not to be, for lack of memory */
    void (*ends)(void *arg, struct ws_str name);
    void *arg;
};

struct room_table {
    struct table rooms;
    struct host_table *hosts;
    struct room_notice notice;
};

void room_table_init(struct room_table *table, struct host_table *hosts,
                     const uint8_t key[SIPHASH_KEY_SIZE]);
void room_table_release(struct room_table *table); /* all seats have been left */

/* Tell `n` of all rooms that there are, and from now on of those that begin and end; and who was
 * told before, that all end. False where `n` refuses one: then nothing has changed, and it was told
 * that those before it end. */
bool room_table_notify(struct room_table *table, const struct room_notice *n);

/* The room of that name, or NULL. */
struct room *room_find(const struct room_table *table, struct ws_str name);

/* Add `m`, whose memberships are the list `*seats`, to a room. Returns 0, also when it is a member
 * already; ACCOUNT_FULL or ACCOUNT_NOMEM with nothing changed, the latter also where a new room is
 * refused by who is told of it. */
int room_join(struct room_table *table, struct room_seat **seats, const struct room_member *m,
              struct ws_str name);

void room_leave(struct room_table *table, struct room_seat **seats, struct ws_str name);
void room_leave_all(struct room_table *table, struct room_seat **seats);

#endif
