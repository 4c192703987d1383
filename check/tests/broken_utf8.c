/* SPDX-License-Identifier: MIT
 *
 * UTF-8 by the table of RFC 3629 §4, with an entry that may be wrong; see broken.h. */
#include "broken.h"

#include <stdlib.h>
#include <string.h>

static void set_range(struct utf8_rules *rules, unsigned first, unsigned last, uint8_t size,
                      uint8_t low, uint8_t high)
{
    for (unsigned i = first; i <= last; i++) {
        rules->size[i] = size;
        rules->low[i] = low;
        rules->high[i] = high;
    }
}

/* Mistakes that have a name. */
static void break_rules(struct utf8_rules *rules, const struct fault *f)
{
    if (fault_has(f, "utf8", "overlong-2"))
        set_range(rules, 0xc0, 0xc1, 2, 0x80, 0xbf);
    if (fault_has(f, "utf8", "overlong-3"))
        rules->low[0xe0] = 0x80;
    if (fault_has(f, "utf8", "overlong-4"))
        rules->low[0xf0] = 0x80;
    if (fault_has(f, "utf8", "surrogates"))
        rules->high[0xed] = 0xbf;
    if (fault_has(f, "utf8", "above-10ffff"))
        rules->high[0xf4] = 0xbf;
    if (fault_has(f, "utf8", "rfc-2279")) { /* it had characters of five and six bytes */
        set_range(rules, 0xf8, 0xfb, 5, 0x80, 0xbf);
        set_range(rules, 0xfc, 0xfd, 6, 0x80, 0xbf);
    }
    if (fault_has(f, "utf8", "marks"))
        rules->size[0xfe] = rules->size[0xff] = 1;
    rules->ascii_mends = fault_has(f, "utf8", "ascii-mends");
}

/* One entry is wrong; the value is its first byte. */
static void break_entry(struct utf8_rules *rules, const struct fault *f)
{
    uint8_t first = (uint8_t)strtoul(f->value, NULL, 16);

    if (fault_is(f, "utf8-first"))
        rules->size[first] = 1;
    if (fault_is(f, "utf8-lacks"))
        rules->size[first] = 0;
    if (fault_is(f, "utf8-low"))
        rules->low[first]--;
    if (fault_is(f, "utf8-high"))
        rules->high[first]++;
}

void utf8_rules_init(struct utf8_rules *rules, const struct fault *f)
{
    memset(rules, 0, sizeof *rules);
    set_range(rules, 0x00, 0x7f, 1, 0, 0);
    set_range(rules, 0xc2, 0xdf, 2, 0x80, 0xbf);
    set_range(rules, 0xe0, 0xef, 3, 0x80, 0xbf);
    set_range(rules, 0xf0, 0xf4, 4, 0x80, 0xbf);
    rules->low[0xe0] = 0xa0;
    rules->high[0xed] = 0x9f;
    rules->low[0xf0] = 0x90;
    rules->high[0xf4] = 0x8f;
    rules->refused =
        fault_is(f, "utf8-refuses") ? (uint32_t)strtoul(f->value, NULL, 16) : UINT32_MAX;
    rules->any_at = (unsigned)fault_number(f, "utf8-any-at", 0);
    break_rules(rules, f);
    break_entry(rules, f);
}

static bool begin(struct utf8 *u, const struct utf8_rules *rules, uint8_t byte)
{
    uint8_t size = rules->size[byte];

    if (size == 0 || (size == 1 && byte == rules->refused))
        return false;
    *u = (struct utf8){.first = byte, .got = size == 1 ? 0 : 1};
    u->point = byte & (0x7fU >> size);
    return true;
}

static bool go_on(struct utf8 *u, const struct utf8_rules *rules, uint8_t byte)
{
    uint8_t low = u->got == 1 ? rules->low[u->first] : 0x80;
    uint8_t high = u->got == 1 ? rules->high[u->first] : 0xbf;

    if ((byte < low || byte > high) && rules->any_at != u->got + 1)
        return false;
    u->point = u->point << 6 | (byte & 0x3f);
    u->got++;
    if (u->got < rules->size[u->first])
        return true;
    u->got = 0;
    return u->point != rules->refused;
}

bool utf8_feed(struct utf8 *u, const struct utf8_rules *rules, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (rules->ascii_mends && data[i] < 0x80)
            u->got = 0;
        if (u->got == 0 ? !begin(u, rules, data[i]) : !go_on(u, rules, data[i]))
            return false;
    }
    return true;
}

bool utf8_is_whole(const struct utf8 *u)
{
    return u->got == 0;
}
