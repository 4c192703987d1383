/* SPDX-License-Identifier: MIT
 *
 * sio_adapter.c: from whatever channel bytes come, what is taken for a message has fields that may
 * be used as they are, and says the same after it was written and read again. */
#include <stdlib.h>
#include <string.h>

#include "../../sio_adapter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(struct ws_str a, struct ws_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static void check_string(struct ws_str value)
{
    if (value.data != NULL && json_type(value) != JSON_STRING)
        abort();
}

static void check(const struct sio_adapter_message *m)
{
    check_string(m->uid);
    check_string(m->nsp);
    check_string(m->request_id);
    check_string(m->sid);
    if (!json_is_list(m->rooms) || !json_is_list(m->except) || !json_is_list(m->list) ||
        !json_is_list(m->names) || m->timeout_ms < 0 || m->count < 0 ||
        m->attachment_count > SIO_ATTACHMENTS_MAX)
        abort();
}

static bool are_same(const struct sio_adapter_message *a, const struct sio_adapter_message *b)
{
    return a->type == b->type && same(a->uid, b->uid) && same(a->nsp, b->nsp) &&
           same(a->request_id, b->request_id) && same(a->rooms, b->rooms) &&
           same(a->except, b->except) && a->is_volatile == b->is_volatile &&
           a->timeout_ms == b->timeout_ms && same(a->sid, b->sid) && same(a->names, b->names) &&
           a->close == b->close && a->count == b->count && same(a->list, b->list) &&
           a->attachment_count == b->attachment_count;
}

/* JSON in any spelling comes back from MessagePack in that of JavaScript, so what was written is
 * read, written and read, and then it must not change. The classic dialect has flags only for
 * events. */
static void check_again(struct sio_adapter_message *m, enum sio_source from)
{
    enum sio_dialect dialect = from == SIO_FROM_SHARDS ? SIO_SHARDED : SIO_CLASSIC;
    struct sio_adapter_message read[2];
    struct sio_adapter_space space[2] = {0};
    struct json_writer w[2] = {0};
    struct json_writer text = {0};

    m->is_volatile = m->is_volatile && (dialect == SIO_SHARDED || m->type == SIO_BROADCAST);
    m->timeout_ms = dialect == SIO_SHARDED || m->type == SIO_BROADCAST ? m->timeout_ms : 0;
    for (int i = 0; i < 2; i++) {
        int error = sio_adapter_write(&w[i], &text, dialect, i == 0 ? m : &read[0]);

        /* a placeholder may stand where there is none, such as in the name of a room */
        if (i == 0 && error == SIO_ADAPTER_BAD)
            break;
        if (error != 0 || sio_adapter_read(&read[i], from, json_written(&w[i]), &space[i]) != 0)
            abort();
        if (i == 1 && m->attachment_count == 0 && !are_same(&read[0], &read[1]))
            abort();
    }
    for (int i = 0; i < 2; i++) {
        json_writer_release(&w[i]);
        json_writer_release(&space[i].text);
    }
    json_writer_release(&text);
}

/* The first byte says from which channel the rest comes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum sio_source from = size == 0 ? SIO_FROM_SHARDS : (enum sio_source)(data[0] % 4);
    struct ws_str bytes = {(const char *)data + (size != 0), size - (size != 0)};
    struct sio_adapter_space space = {0};
    struct sio_adapter_message m;

    sio_adapter_sender(bytes);
    if (sio_adapter_read(&m, from, bytes, &space) == 0) {
        check(&m);
        if (m.type != SIO_ADAPTER_OTHER)
            check_again(&m, from);
    }
    json_writer_release(&space.text);
    return 0;
}
