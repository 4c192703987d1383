/* SPDX-License-Identifier: MIT
 *
 * The opening handshake, RFC 6455 §4.2, with one check or one field that may be
 * wrong; see broken.h.
 *
 * `--fault unchecked=X` leaves out a check. */
#include "broken.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_case_kept(const struct fault *f, const char *field)
{
    return fault_has(f, "case-of", field);
}

/* Is `item[0..len)` the token, as the server sees it? */
static bool is_upgrade(const struct fault *f, const char *item, size_t len)
{
    if (fault_has(f, "connection", "prefix") && len > 7)
        len = 7;
    if (len != 7)
        return false;
    return is_case_kept(f, "connection") ? strncmp(item, "Upgrade", 7) == 0
                                         : strncasecmp(item, "upgrade", 7) == 0;
}

/* The item of `list` that takes up `len` bytes, without white space around it. */
static bool item_is_upgrade(const struct fault *f, const char *list, size_t len)
{
    size_t skip = strspn(list, " \t");

    while (len > skip && strchr(" \t", list[len - 1]) != NULL)
        len--;
    return len > skip && is_upgrade(f, list + skip, len - skip);
}

static bool list_has_upgrade(const struct fault *f, const char *list)
{
    if (fault_has(f, "connection", "whole"))
        return is_upgrade(f, list, strlen(list));
    while (*list != '\0') {
        size_t item = strcspn(list, ",");

        if (fault_has(f, "connection", "comma-and-space") && strstr(list, ", ") == NULL)
            item = strlen(list);
        if (item_is_upgrade(f, list, item))
            return true;
        if (fault_has(f, "connection", "first-item") ||
            (fault_has(f, "connection", "empty-item-ends") && item == 0))
            return false;
        list += item;
        list += *list == ',';
    }
    return false;
}

static bool connection_upgrades(const struct request *r, const struct fault *f)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcasecmp(r->fields[i].name, "Connection") != 0)
            continue;
        if (list_has_upgrade(f, r->fields[i].value))
            return true;
        if (fault_has(f, "connection", "first-field"))
            return false;
    }
    return fault_has(f, "unchecked", "connection");
}

static bool names_websocket(const struct request *r, const struct fault *f)
{
    const char *upgrade = request_field(r, f, "Upgrade");

    if (fault_has(f, "unchecked", "upgrade"))
        return true;
    if (upgrade == NULL)
        return false;
    if (fault_has(f, "upgrade", "prefix"))
        return strncasecmp(upgrade, "websocket", 9) == 0;
    return is_case_kept(f, "upgrade") ? strcmp(upgrade, "websocket") == 0
                                      : strcasecmp(upgrade, "websocket") == 0;
}

static bool is_get(const struct request *r, const struct fault *f)
{
    if (fault_has(f, "unchecked", "method"))
        return true;
    return fault_has(f, "case-of", "method-ignored") ? strcasecmp(r->method, "GET") == 0
                                                     : strcmp(r->method, "GET") == 0;
}

/* Base64 of 16 bytes: 22 digits and "==". */
static bool is_key(const struct fault *f, const char *key)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(key);
    size_t count = strspn(key, digits);
    const char *padding = key + count;

    if (fault_has(f, "key", "length-alone"))
        return len == 24;
    if (fault_has(f, "key", "any-base64"))
        return len > 0 && len % 4 == 0 && padding[strspn(padding, "=")] == '\0';
    if (fault_has(f, "key", "padding-optional"))
        return count == 22;
    if (fault_has(f, "key", "may-be-empty") && len == 0)
        return true;
    return count == 22 && strcmp(padding, "==") == 0;
}

static int check_key(const struct request *r, const struct fault *f)
{
    const char *key = request_field(r, f, "Sec-WebSocket-Key");

    if (fault_has(f, "unchecked", "key"))
        return 0;
    if (key == NULL || !is_key(f, key))
        return 400;
    return request_count(r, f, "Sec-WebSocket-Key") == 1 || fault_has(f, "unchecked", "two-keys")
               ? 0
               : 400;
}

/* "13", and nothing that atoi() would take for it. */
static bool is_version(const struct fault *f, const char *version)
{
    if (fault_has(f, "version", "atoi"))
        return atoi(version) == 13;
    if (fault_has(f, "version", "prefix"))
        return strncmp(version, "13", 2) == 0;
    if (fault_has(f, "version", "without-sign"))
        return abs(atoi(version)) == 13;
    if (fault_has(f, "version", "without-blanks") && strcmp(version, "1 3") == 0)
        return true;
    if (fault_has(f, "version", "up-to-13") && atoi(version) <= 13 && atoi(version) >= 0)
        return strspn(version, "0123456789") == strlen(version);
    if (fault_has(f, "version", "from-13") && atoi(version) >= 13)
        return strspn(version, "0123456789") == strlen(version);
    return strcmp(version, "13") == 0;
}

static int check_version(const struct request *r, const struct fault *f)
{
    const char *version = request_field(r, f, "Sec-WebSocket-Version");

    if (fault_has(f, "unchecked", "version"))
        return 0;
    if (version == NULL)
        return fault_has(f, "version", "optional") ? 0 : 400;
    if (!is_version(f, version))
        return fault_is(f, "version-400") ? 400 : 426;
    return request_count(r, f, "Sec-WebSocket-Version") == 1 ||
                   fault_has(f, "unchecked", "two-versions")
               ? 0
               : 400;
}

static bool is_offered(const struct request *r, const struct fault *f, const char *what)
{
    return request_field(r, f, what) != NULL;
}

/* The mistake: it knows what it knows, and ignores nothing. */
static bool has_unknown_field(const struct request *r)
{
    static const char *const known[] = {
        "Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Origin", "Sec-WebSocket-Version"};
    const size_t count = sizeof known / sizeof known[0];

    for (size_t i = 0; i < r->count; i++) {
        size_t k = 0;

        while (k < count && strcasecmp(known[k], r->fields[i].name) != 0)
            k++;
        if (k == count)
            return true;
    }
    return false;
}

int upgrade_check(const struct request *r, const struct fault *f)
{
    int status;

    if (!is_get(r, f) || (r->minor == 0 && !fault_has(f, "unchecked", "http-1.0")))
        return 0;
    if (!names_websocket(r, f) || !connection_upgrades(r, f))
        return 0;
    if (fault_is(f, "extension-refused") && is_offered(r, f, "Sec-WebSocket-Extensions"))
        return 400;
    if (fault_is(f, "known-fields-only") && has_unknown_field(r))
        return 400;
    status = check_version(r, f);
    if (status == 0)
        status = check_key(r, f);
    return status == 0 ? 101 : status;
}

/* --- the answer ------------------------------------------------------------------------------- */

static void add_accept(struct bytes *out, const struct request *r, const struct fault *f)
{
    const char *key = request_field(r, f, "Sec-WebSocket-Key");
    char accept[ACCEPT_SIZE];

    if (key == NULL)
        key = "";
    accept_of(accept, fault_is(f, "accept-fixed") ? "dGhlIHNhbXBsZSBub25jZQ==" : key);
    if (fault_is(f, "accept-unpadded"))
        accept[ACCEPT_SIZE - 2] = '\0';
    bytes_add_format(out, "Sec-WebSocket-Accept: %s\r\n", accept);
}

static void add_extensions(struct bytes *out, const struct request *r, const struct fault *f)
{
    const char *offer = request_field(r, f, "Sec-WebSocket-Extensions");

    if (fault_is(f, "extension-unasked"))
        offer = "permessage-deflate";
    else if (!fault_is(f, "extension-agreed"))
        offer = NULL;
    if (offer != NULL)
        bytes_add_format(out, "Sec-WebSocket-Extensions: %s\r\n", offer);
}

void upgrade_answer(struct bytes *out, const struct request *r, const struct fault *f)
{
    bool asks = is_offered(r, f, "Sec-WebSocket-Protocol");

    bytes_add_text(out, "HTTP/1.1 101 Switching Protocols\r\n");
    if (!fault_is(f, "no-upgrade-field"))
        bytes_add_text(out, "Upgrade: websocket\r\n");
    bytes_add_format(out, "Connection: %s\r\n",
                     fault_is(f, "connection-keep-alive") ? "keep-alive" : "Upgrade");
    add_accept(out, r, f);
    add_extensions(out, r, f);
    if (fault_is(f, "protocol-unasked") || (asks && fault_is(f, "protocol-of-its-own")))
        bytes_add_text(out, "Sec-WebSocket-Protocol: chat\r\n");
    if (fault_is(f, "length-in-101"))
        bytes_add_text(out, "Content-Length: 0\r\n");
    if (fault_is(f, "coding-in-101"))
        bytes_add_text(out, "Transfer-Encoding: chunked\r\n");
    bytes_add_text(out, "\r\n");
}
