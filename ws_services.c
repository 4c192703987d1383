/* SPDX-License-Identifier: MIT
 *
 * Small services of ws.h that an application calls and that need no loop: base64, origins, UTF-8,
 * hashes, random bytes, and memory that counts in a server's budget. Each calls the file that
 * implements it. */
#define _GNU_SOURCE 1 /* what -std=c11 hides; where this file is compiled alone */
#include "ws_services.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "address.h"
#include "base64.h"
#include "block.h"
#include "http_host.h"
#include "server.h"
#include "siphash.h"
#include "utf8.h"

const char *ws_strerror(int error)
{
    switch (error) {
    case WS_ERR_CLOSED:
        return "the connection is not open";
    case WS_ERR_FULL:
        return "a limit of buffered bytes would be passed";
    case WS_ERR_NOMEM:
        return "out of memory";
    case WS_ERR_INVALID:
        return "an argument that the protocol does not allow";
    case WS_ERR_SYSTEM:
        return "a system call failed";
    default:
        return error > 0 ? strerror(error) : "no error";
    }
}

const char *ws_opcode_name(enum ws_opcode opcode)
{
    switch (opcode) {
    case WS_OP_CONTINUATION:
        return "CONTINUATION";
    case WS_OP_TEXT:
        return "TEXT";
    case WS_OP_BINARY:
        return "BINARY";
    case WS_OP_CLOSE:
        return "CLOSE";
    case WS_OP_PING:
        return "PING";
    case WS_OP_PONG:
        return "PONG";
    }
    return "?";
}

size_t ws_base64_encode(char *out, const void *data, size_t len)
{
    return base64_encode(out, data, len);
}

ptrdiff_t ws_base64_decode(void *out, const char *text, size_t len)
{
    ptrdiff_t n = base64_decode(out, text, len);

    return n >= 0 ? n : WS_ERR_INVALID;
}

bool ws_origin_allowed(struct ws_str origin, const char *const *origins)
{
    return http_origin_is_listed(origin, origins);
}

const char *ws_origin_fault(const char *origin)
{
    return http_origin_fault(ws_str(origin));
}

const char *ws_host_fault(const char *host)
{
    return http_host_fault(ws_str(host));
}

const char *ws_proxy_fault(const char *proxy)
{
    struct address_range range;

    if (strcmp(proxy, "unix") == 0 || address_range_parse(&range, ws_str(proxy)))
        return NULL;
    return "neither an address such as 10.0.0.1, nor a range such as 10.0.0.0/8, nor unix";
}

bool ws_utf8_valid(const void *text, size_t len)
{
    struct utf8 u = {0};

    return utf8_feed(&u, text, len) && utf8_complete(&u);
}

uint64_t ws_siphash(const uint8_t key[WS_SIPHASH_KEY_SIZE], const void *data, size_t len)
{
    return siphash(key, data, len);
}

int ws_random(void *out, size_t len)
{
    uint8_t *bytes = out;
    ssize_t n;

    while (len > 0) {
        n = getrandom(bytes, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return WS_ERR_SYSTEM;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* --- accounts of the application -------------------------------------------------------------- */

/* The memory of the struct counts in its own account. */
struct ws_account {
    struct account account;
    struct account *counted;  /* `account`, or the budget's for memory of no single peer */
    struct ws_server *server; /* NULL once the server has been freed */
    struct host *host;
    struct ws_account *next; /* of the server's */
    struct ws_account **link;
    size_t references;
};

struct ws_account *ws_account_new(struct ws_server *s, const struct ws_conn *c)
{
    struct host *host = c == NULL ? NULL : server_host_of(c);
    struct account account = {.above = host == NULL ? &s->budget.all : &host->account};
    int error;
    struct ws_account *a = account_new(&account, sizeof *a, ACCOUNT_ESSENTIAL, &error);

    if (a == NULL)
        return NULL;
    *a = (struct ws_account){.account = account, .server = s, .next = s->accounts, .references = 1};
    a->counted = c == NULL ? &s->budget.all : &a->account;
    a->host = host_keep(host);
    a->link = &s->accounts;
    if (a->next != NULL)
        a->next->link = &a->next;
    s->accounts = a;
    return a;
}

/* The account stops counting: it is released, or the server ends. */
static void account_leave(struct ws_account *a)
{
    struct ws_server *s = a->server;

    *a->link = a->next;
    if (a->next != NULL)
        a->next->link = a->link;
    account_give(&a->account, a->account.used);
    host_release(&s->hosts, a->host);
    a->server = NULL;
}

void ws_accounts_leave(struct ws_server *s)
{
    while (s->accounts != NULL)
        account_leave(s->accounts);
}

struct ws_account *ws_account_keep(struct ws_account *a)
{
    a->references++;
    return a;
}

void ws_account_release(struct ws_account *a)
{
    if (a == NULL || --a->references > 0)
        return;
    if (a->server != NULL)
        account_leave(a);
    block_free(a, sizeof *a);
}

void *ws_account_resize(struct ws_account *a, void *p, size_t size, size_t new_size)
{
    enum account_kind kind = account_kind_of(new_size);
    int error;

    if (a->server == NULL)
        return NULL;
    return p == NULL ? account_new(a->counted, new_size, kind, &error)
                     : account_resize(a->counted, p, size, new_size, kind, &error);
}

void *ws_account_take(struct ws_account *a, size_t size)
{
    void *p = ws_account_resize(a, NULL, 0, size);

    return p == NULL ? NULL : memset(p, 0, size);
}

/* A block of a server that has been freed is not counted any more. */
void ws_account_give(struct ws_account *a, void *p, size_t size)
{
    if (a->server != NULL)
        account_free(a->counted, p, size);
    else
        block_free(p, size);
}
