/* SPDX-License-Identifier: MIT
 *
 * Two Socket.IO servers of one loop, in a cluster over a bus that is only memory, and a third
 * member that the test plays itself: it publishes what it likes, and sees all that is published.
 * The first server is that of sio_fixture.h, at its path; the second has the same handlers. */
#ifndef CLUSTER_FIXTURE_H
#define CLUSTER_FIXTURE_H

#include "../../cluster/tests/loop_bus.h"
#include "../sio_cluster.h"
#include "sio_fixture.h"

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

struct pair {
    struct sio_fixture *x;
    struct loop_net net;
    struct bus *bus[2];
    struct sio_cluster *cluster[2];
    struct sio_server *io[2];
    struct bus *third;
    char seen[1 << 14]; /* "channel message\n" of all that was published, as JSON, ids as "*" */
    char told[1 << 14]; /* what callbacks were told, of the tests */
    char id[64];        /* of the last request that was published */
    bool counted;       /* with shards: the third member sees all, and counts as a server */
    bool started;
    struct sio_options first; /* options of the first server */
};

int pair_setup(void **state);
int pair_teardown(void **state);

/* Start both. Where `options` names no other, the dialect is the classic one. */
void pair_start(struct pair *p, struct sio_cluster_options options, struct sio_handlers handlers);
/* Make them, with nobody that runs the loop. */
void pair_create(struct pair *p, struct sio_cluster_options options, struct sio_handlers handlers);

/* A client of the first or second server, in "/". */
struct raw_client *pair_client(struct pair *p, int server, char id[EIO_ID_SIZE]);

struct sio_namespace *pair_main(struct pair *p, int server); /* its "/" */

/* Run fn(p) on the loop, and wait for its end. */
void on_pair(struct pair *p, void (*fn)(struct pair *p));

/* What the third member publishes: text that begins with '{', or hexadecimal digits. It is received
 * when this returns. */
void third_publishes(struct pair *p, const char *channel, const char *message);
/* From now on it counts as a server. */
void third_counts(struct pair *p);

/* Wait until `told` or `seen` contains the text, and forget what was in it. */
void expect_told(struct pair *p, const char *text);
void expect_seen(struct pair *p, const char *text);
/* Nothing was published. */
void expect_nothing_seen(struct pair *p);
void tell(struct pair *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Let all that was published arrive. */
void settle_bus(struct pair *p);

#endif
