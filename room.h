/* SPDX-License-Identifier: MIT
 *
 * Rooms: named sets of members. A room is there while it has members. Members of a room lie side by
 * side in an array, so that a broadcast walks memory in order. Pure: a member is any pointer.
 *
 * Memory is counted in the table's budget. */
#ifndef ROOM_H
#define ROOM_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "siphash.h"

struct room;

/* One membership, linked to the other memberships of the same member. */
struct room_seat {
    struct room_seat *next;
    struct room_seat **link; /* what points at this seat in the member's list */
    struct room *room;
    void *member;
    size_t index; /* in room->seats */
};

struct room {
    struct room *next; /* in the same bucket */
    uint64_t hash;
    struct room_seat **seats; /* count in use of cap */
    size_t count;
    size_t cap;
    size_t name_len;
    char name[]; /* no NUL */
};

struct room_table {
    struct room **buckets; /* NULL while there has been no room */
    size_t size;           /* a power of two */
    size_t count;          /* rooms */
    uint8_t key[SIPHASH_KEY_SIZE]; /* secret, so that a peer cannot find names that collide */
    struct buf_budget *budget;
};

void room_table_init(struct room_table *table, struct buf_budget *budget,
                     const uint8_t key[SIPHASH_KEY_SIZE]);
void room_table_release(struct room_table *table); /* all seats have been left */

/* The room of that name, or NULL. */
struct room *room_find(const struct room_table *table, const char *name, size_t len);

/* Add `member`, whose memberships hang on `*seats`, to a room. Returns 0, also when it is in there
 * already; BUF_FULL or BUF_NOMEM with nothing changed. */
int room_join(struct room_table *table, struct room_seat **seats, void *member, const char *name,
              size_t len);

void room_leave(struct room_table *table, struct room_seat **seats, const char *name, size_t len);
void room_leave_all(struct room_table *table, struct room_seat **seats);

#endif
