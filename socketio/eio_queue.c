/* SPDX-License-Identifier: MIT
 *
 * Queues of packets for polling; see eio_queue.h. */
#include "eio_queue.h"

#include <string.h>

#include "eio_codec.h"

enum {
    QUEUE_MIN = 256, /* first allocation of its own bytes */
    SHARES_MIN = 4,  /* first allocation of the list of shares */
    SHARED_MIN = 256 /* bytes from which a reference is cheaper than a copy */
};

/* --- shared packets --------------------------------------------------------------------------- */

struct eio_text *eio_text_new(struct ws_account *account, size_t len)
{
    struct eio_text *t = ws_account_resize(account, NULL, 0, sizeof *t + len);

    if (t == NULL)
        return NULL;
    *t = (struct eio_text){.account = account, .references = 1, .len = len};
    return t;
}

void eio_text_release(struct eio_text *t)
{
    if (t != NULL && --t->references == 0)
        ws_account_give(t->account, t, sizeof *t + t->len);
}

/* --- room ------------------------------------------------------------------------------------- */

static bool own_resize(struct eio_queue *q, struct ws_account *account, size_t cap)
{
    char *own = ws_account_resize(account, q->own, q->own_cap, cap);

    if (own == NULL)
        return false;
    q->own = own;
    q->own_cap = cap;
    return true;
}

/* Make room for `size` more of the queue's own bytes: double the capacity, or, without memory for
 * that, add only as much as is needed. */
static bool own_reserve(struct eio_queue *q, struct ws_account *account, size_t size)
{
    size_t need = q->own_len + size;
    size_t cap = q->own_cap < QUEUE_MIN / 2 ? QUEUE_MIN : q->own_cap * 2;

    if (need <= q->own_cap)
        return true;
    return (cap > need && own_resize(q, account, cap)) || own_resize(q, account, need);
}

static bool shares_reserve(struct eio_queue *q, struct ws_account *account)
{
    size_t cap = q->share_cap == 0 ? SHARES_MIN : q->share_cap * 2;
    struct eio_share *shares;

    if (q->share_count < q->share_cap)
        return true;
    shares =
        ws_account_resize(account, q->shares, q->share_cap * sizeof *shares, cap * sizeof *shares);
    if (shares == NULL)
        return false;
    q->shares = shares;
    q->share_cap = cap;
    return true;
}

/* --- adding ----------------------------------------------------------------------------------- */

/* The caller has reserved the room. */
static char *own_add(struct eio_queue *q, size_t size)
{
    char *place = q->own + q->own_len;

    q->own_len += size;
    q->len += size;
    return place;
}

static void separate(struct eio_queue *q)
{
    if (q->len > 0)
        *own_add(q, 1) = EIO_SEPARATOR;
}

char *eio_queue_add(struct eio_queue *q, struct ws_account *account, size_t size)
{
    if (!own_reserve(q, account, size + 1))
        return NULL;
    separate(q);
    return own_add(q, size);
}

bool eio_queue_refer(struct eio_queue *q, struct ws_account *account, struct eio_text *text)
{
    char *place;

    if (text->len < SHARED_MIN) {
        place = eio_queue_add(q, account, text->len);
        return place != NULL && memcpy(place, text->data, text->len) != NULL;
    }
    if (!own_reserve(q, account, 1) || !shares_reserve(q, account))
        return false;
    separate(q);
    q->shares[q->share_count++] = (struct eio_share){.at = q->own_len, .text = text};
    text->references++;
    q->len += text->len;
    return true;
}

/* --- taking ----------------------------------------------------------------------------------- */

bool eio_queue_next(const struct eio_queue *q, struct eio_cursor *cursor, struct ws_str *piece)
{
    bool more = cursor->share < q->share_count;
    size_t end = more ? q->shares[cursor->share].at : q->own_len;

    cursor->shared = more && cursor->at == end;
    if (cursor->shared) {
        const struct eio_text *text = q->shares[cursor->share++].text;

        *piece = (struct ws_str){text->data, text->len};
        return true;
    }
    if (cursor->at == end)
        return false;
    *piece = (struct ws_str){q->own + cursor->at, end - cursor->at};
    cursor->at = end;
    return true;
}

void eio_queue_release(struct eio_queue *q, struct ws_account *account)
{
    for (size_t i = 0; i < q->share_count; i++)
        eio_text_release(q->shares[i].text);
    ws_account_give(account, q->shares, q->share_cap * sizeof *q->shares);
    ws_account_give(account, q->own, q->own_cap);
    *q = (struct eio_queue){0};
}
