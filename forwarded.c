/* SPDX-License-Identifier: MIT
 *
 * X-Forwarded-For and Forwarded; see forwarded.h. */
#include "forwarded.h"

static struct ws_str slice(struct ws_str s, size_t from, size_t to)
{
    return (struct ws_str){s.data + from, to - from};
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct ws_str without_space(struct ws_str s)
{
    while (s.len > 0 && is_space(s.data[s.len - 1]))
        s.len--;
    while (s.len > 0 && is_space(s.data[0]))
        s = slice(s, 1, s.len);
    return s;
}

/* --- lists, from their end -------------------------------------------------------------------- */

/* Is the character at `at` escaped, by an odd number of backslashes? */
static bool is_escaped(struct ws_str s, size_t at)
{
    size_t n = 0;

    while (n < at && s.data[at - 1 - n] == '\\')
        n++;
    return n % 2 == 1;
}

/* Where the quoted-string begins whose last quote is at `end`; 0 also where it has no beginning. */
static size_t quote_begin(struct ws_str s, size_t end)
{
    size_t at = end;

    while (at > 0) {
        at--;
        if (s.data[at] == '"' && !is_escaped(s, at))
            return at;
    }
    return 0;
}

/* Cut the last member off `*rest`. False at the beginning. */
static bool cut_last(struct ws_str *rest, enum forwarded_field field, struct ws_str *member)
{
    size_t at = rest->len;

    if (rest->data == NULL)
        return false;
    while (at > 0 && rest->data[at - 1] != ',') {
        at--;
        if (field == FORWARDED_STANDARD && rest->data[at] == '"')
            at = quote_begin(*rest, at);
    }
    *member = without_space(slice(*rest, at, rest->len));
    *rest = at == 0 ? (struct ws_str){NULL, 0} : slice(*rest, 0, at - 1);
    return true;
}

/* --- members ---------------------------------------------------------------------------------- */

/* Cut a quoted-string off the front, RFC 9110 §5.6.4. An escape in it makes no address, so it is
 * left as it is. */
static bool cut_quoted(struct ws_str *s, struct ws_str *value)
{
    size_t at = 1;

    while (at < s->len && s->data[at] != '"')
        at += s->data[at] == '\\' ? 2 : 1;
    if (at >= s->len)
        return false;
    *value = slice(*s, 1, at);
    *s = slice(*s, at + 1, s->len);
    return true;
}

static size_t until(struct ws_str s, char c)
{
    size_t at = 0;

    while (at < s.len && s.data[at] != c)
        at++;
    return at;
}

/* Cut "name=value", and the semicolon behind it, off the front. A value without quotes may be any
 * text: common proxies write for=192.0.2.1:80, although a token has no colon. */
static bool cut_pair(struct ws_str *s, struct ws_str *name, struct ws_str *value)
{
    size_t equals = until(*s, '=');
    size_t end;

    *name = without_space(slice(*s, 0, equals));
    if (equals == s->len || !http_is_token(*name))
        return false;
    *s = without_space(slice(*s, equals + 1, s->len));
    if (s->len > 0 && s->data[0] == '"') {
        if (!cut_quoted(s, value))
            return false;
    } else {
        end = until(*s, ';');
        *value = without_space(slice(*s, 0, end));
        *s = slice(*s, end, s->len);
    }
    *s = without_space(*s);
    if (s->len > 0 && s->data[0] != ';')
        return false;
    *s = without_space(slice(*s, s->len > 0 ? 1 : 0, s->len));
    return true;
}

/* The value of "for" in a member; data NULL where there is none, or more than one, or where the
 * member is malformed. RFC 7239 §4 */
static struct ws_str node_of(struct ws_str member)
{
    struct ws_str node = {NULL, 0}, name, value;

    while (member.len > 0) {
        if (member.data[0] == ';') { /* an empty pair */
            member = without_space(slice(member, 1, member.len));
            continue;
        }
        if (!cut_pair(&member, &name, &value))
            return (struct ws_str){NULL, 0};
        if (!http_is_nocase(name, "for"))
            continue;
        if (node.data != NULL)
            return (struct ws_str){NULL, 0};
        node = value;
    }
    return node;
}

/* A port may be hidden, too: "192.0.2.43:_gazonk", RFC 7239 §6.3. */
static struct ws_str without_hidden_port(struct ws_str node)
{
    for (size_t i = 0; i + 1 < node.len; i++)
        if (node.data[i] == ':' && node.data[i + 1] == '_')
            return slice(node, 0, i);
    return node;
}

static bool read_member(struct address *a, struct ws_str member, enum forwarded_field field)
{
    if (field == FORWARDED_STANDARD)
        member = without_hidden_port(node_of(member));
    return address_parse(a, member);
}

struct address forwarded_client(const struct http_request *r, enum forwarded_field field,
                                const struct address_range *trusted, size_t count)
{
    const char *name = field == FORWARDED_STANDARD ? "Forwarded" : "X-Forwarded-For";
    struct address client = {0};

    for (size_t i = r->field_count; i-- > 0;) {
        struct ws_str rest = r->fields[i].value, member;

        if (!http_is_nocase(r->fields[i].name, name))
            continue;
        while (cut_last(&rest, field, &member)) {
            if (member.len == 0)
                continue; /* RFC 9110 §5.6.1 */
            if (!read_member(&client, member, field) || !address_is_in_any(&client, trusted, count))
                return client;
        }
    }
    return client;
}
