/* SPDX-License-Identifier: MIT
 *
 * Rooms: a chained hash table of arrays; see room.h. */
#include "room.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 16, SEATS_MIN = 4 };

/* malloc and free that count in the budget. Sizes here come from the server, not from a peer's
 * numbers, and cannot wrap. */
static void *take(struct buf_budget *budget, size_t size, int *error)
{
    void *p;

    *error = BUF_FULL;
    if (!buf_budget_take(budget, size))
        return NULL;
    p = malloc(size);
    if (p == NULL) {
        *error = BUF_NOMEM;
        buf_budget_give(budget, size);
    }
    return p;
}

static void give(struct buf_budget *budget, void *p, size_t size)
{
    if (p == NULL)
        return;
    free(p);
    buf_budget_give(budget, size);
}

static uint64_t hash_name(const struct room_table *table, const char *name, size_t len)
{
    return siphash(table->key, name, len);
}

void room_table_init(struct room_table *table, struct buf_budget *budget,
                     const uint8_t key[SIPHASH_KEY_SIZE])
{
    *table = (struct room_table){.budget = budget};
    memcpy(table->key, key, sizeof table->key);
}

void room_table_release(struct room_table *table)
{
    give(table->budget, table->buckets, table->size * sizeof *table->buckets);
    table->buckets = NULL;
    table->size = 0;
}

static struct room **bucket(const struct room_table *table, uint64_t hash)
{
    return &table->buckets[hash & (table->size - 1)];
}

static struct room *find_hashed(const struct room_table *table, uint64_t hash, const char *name,
                                size_t len)
{
    struct room *room = table->size == 0 ? NULL : *bucket(table, hash);

    while (room != NULL && (room->hash != hash || room->name_len != len ||
                            (len != 0 && memcmp(room->name, name, len) != 0)))
        room = room->next;
    return room;
}

struct room *room_find(const struct room_table *table, const char *name, size_t len)
{
    return find_hashed(table, hash_name(table, name, len), name, len);
}

static int table_grow(struct room_table *table)
{
    struct room_table bigger = *table;
    int error;

    bigger.size = table->size == 0 ? BUCKETS_MIN : table->size * 2;
    bigger.buckets = take(table->budget, bigger.size * sizeof *bigger.buckets, &error);
    if (bigger.buckets == NULL)
        return error;
    for (size_t i = 0; i < bigger.size; i++)
        bigger.buckets[i] = NULL;
    for (size_t i = 0; i < table->size; i++) {
        while (table->buckets[i] != NULL) {
            struct room *room = table->buckets[i];

            table->buckets[i] = room->next;
            room->next = *bucket(&bigger, room->hash);
            *bucket(&bigger, room->hash) = room;
        }
    }
    give(table->budget, table->buckets, table->size * sizeof *table->buckets);
    *table = bigger;
    return 0;
}

static int room_new(struct room_table *table, uint64_t hash, const char *name, size_t len,
                    struct room **out)
{
    struct room *room;
    int error;

    if (table->count >= table->size && (error = table_grow(table)) != 0)
        return error;
    room = take(table->budget, sizeof *room + len, &error);
    if (room == NULL)
        return error;
    *room = (struct room){.hash = hash, .name_len = len, .next = *bucket(table, hash)};
    if (len != 0)
        memcpy(room->name, name, len);
    *bucket(table, hash) = room;
    table->count++;
    *out = room;
    return 0;
}

static void room_free(struct room_table *table, struct room *room)
{
    struct room **link = bucket(table, room->hash);

    while (*link != room)
        link = &(*link)->next;
    *link = room->next;
    table->count--;
    give(table->budget, room->seats, room->cap * sizeof *room->seats);
    give(table->budget, room, sizeof *room + room->name_len);
}

static int seats_reserve(struct room_table *table, struct room *room)
{
    size_t cap = room->cap == 0 ? SEATS_MIN : room->cap * 2;
    struct room_seat **seats;
    int error;

    if (room->count < room->cap)
        return 0;
    seats = take(table->budget, cap * sizeof *seats, &error);
    if (seats == NULL)
        return error;
    if (room->count != 0)
        memcpy(seats, room->seats, room->count * sizeof *seats);
    give(table->budget, room->seats, room->cap * sizeof *seats);
    room->seats = seats;
    room->cap = cap;
    return 0;
}

static int seat_new(struct room_table *table, struct room *room, struct room_seat **seats,
                    void *member)
{
    struct room_seat *seat;
    int error = seats_reserve(table, room);

    if (error != 0)
        return error;
    seat = take(table->budget, sizeof *seat, &error);
    if (seat == NULL)
        return error;
    *seat = (struct room_seat){.next = *seats, .link = seats, .room = room, .member = member};
    seat->index = room->count;
    room->seats[room->count++] = seat;
    if (seat->next != NULL)
        seat->next->link = &seat->next;
    *seats = seat;
    return 0;
}

/* The seat in `room` among those of one member, or NULL. Looks through the member's seats and the
 * room's at the same time, so that neither many rooms nor many members alone make it slow. */
static struct room_seat *find_seat(struct room_seat *first, const struct room *room)
{
    struct room_seat *seat = first;

    for (size_t i = 0; seat != NULL && i < room->count; i++) {
        if (room->seats[i]->member == first->member)
            return room->seats[i];
        if (seat->room == room)
            return seat;
        seat = seat->next;
    }
    return NULL;
}

int room_join(struct room_table *table, struct room_seat **seats, void *member, const char *name,
              size_t len)
{
    uint64_t hash = hash_name(table, name, len);
    struct room *room = find_hashed(table, hash, name, len);
    int error;

    if (room != NULL && find_seat(*seats, room) != NULL)
        return 0;
    if (room == NULL && (error = room_new(table, hash, name, len, &room)) != 0)
        return error;
    error = seat_new(table, room, seats, member);
    if (error != 0 && room->count == 0)
        room_free(table, room);
    return error;
}

/* The last member takes the free place, so that the array has no holes. */
static void leave_seat(struct room_table *table, struct room_seat *seat)
{
    struct room *room = seat->room;
    struct room_seat *last = room->seats[--room->count];

    room->seats[seat->index] = last;
    last->index = seat->index;
    *seat->link = seat->next;
    if (seat->next != NULL)
        seat->next->link = seat->link;
    give(table->budget, seat, sizeof *seat);
    if (room->count == 0)
        room_free(table, room);
}

void room_leave(struct room_table *table, struct room_seat **seats, const char *name, size_t len)
{
    struct room *room = room_find(table, name, len);
    struct room_seat *seat = room == NULL ? NULL : find_seat(*seats, room);

    if (seat != NULL)
        leave_seat(table, seat);
}

void room_leave_all(struct room_table *table, struct room_seat **seats)
{
    while (*seats != NULL)
        leave_seat(table, *seats); /* NOLINT(clang-analyzer-unix.Malloc): it unlinks itself */
}
