/* SPDX-License-Identifier: MIT
 *
 * HTTP/1.1 requests in, response heads out: RFC 9112 §2 to §7. See http.h for the contracts.
 * conn_http.c scans, parses and decodes with it; http_upgrade.c reads its fields. Pure.
 *
 * Whatever RFC 9112 lets a lenient server repair (bare LF, obs-fold, space before the colon, white
 * space between a chunk size and its CRLF, commas around chunked) is refused here: a proxy in front
 * may repair it another way, and a request with two readings allows request smuggling (§11.2). */
#include "http.h"

#include <assert.h>
#include <string.h>

enum {
    VERSION_LEN = 8,            /* "HTTP/1.1" */
    CHUNK_DIGITS = 16,          /* of a 64-bit chunk size; more can only be zeros in front */
    CHUNK_OVERHEAD_MAX = 16384, /* extensions, trailers and such zeros of one body together */
    DECIMAL_SIZE = 20           /* digits of UINT64_MAX */
};

/* --- characters ------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

char http_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_alnum(char c)
{
    return is_digit(c) || (http_lower(c) >= 'a' && http_lower(c) <= 'z');
}

/* OWS, RFC 9110 §5.6.3. */
static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* What a field value may consist of, RFC 9110 §5.5: VCHAR, obs-text, SP and HTAB. */
static bool is_text(char c)
{
    unsigned char u = (unsigned char)c;

    return (u >= 0x20 && u != 0x7f) || u == '\t';
}

/* tchar, RFC 9110 §5.6.2. */
static bool is_token_char(char c)
{
    static const bool mark[256] = {
        ['!'] = true, ['#'] = true, ['$'] = true,  ['%'] = true, ['&'] = true,
        ['*'] = true, ['+'] = true, ['-'] = true,  ['.'] = true, ['^'] = true,
        ['_'] = true, ['`'] = true, ['\''] = true, ['|'] = true, ['~'] = true,
    };

    return is_alnum(c) || mark[(unsigned char)c];
}

/* Where in a request target or in Host a character may stand as it is: RFC 3986 §3.2.2 to §3.4,
 * with two exceptions. The comma is legal in a host, and refused: two Host fields that a proxy has
 * joined have one. And a query may have characters that browsers send though no URI has them: of
 * printable characters the URL standard encodes '"', '#', '<' and '>' there, and no other
 * (https://url.spec.whatwg.org/#query-percent-encode-set). */
enum { IN_HOST = 1, IN_PATH = 2, IN_QUERY = 4 };

#define PLACES(c)                                                                                  \
    ((c) <= ' ' || (c) == '"' || (c) == '#' || (c) == '<' || (c) == '>' || (c) > '~' ? 0           \
     : (c) == '?' || (c) == '%' || ((c) >= '[' && (c) <= '^') || (c) == '`' ||                     \
             ((c) >= '{' && (c) <= '}')                                                            \
         ? IN_QUERY                                                                                \
     : (c) == ',' || (c) == '/' || (c) == ':' || (c) == '@' ? IN_PATH | IN_QUERY                   \
                                                            : IN_HOST | IN_PATH | IN_QUERY)
#define PLACES_4(c)  PLACES(c), PLACES((c) + 1), PLACES((c) + 2), PLACES((c) + 3)
#define PLACES_16(c) PLACES_4(c), PLACES_4((c) + 4), PLACES_4((c) + 8), PLACES_4((c) + 12)
#define PLACES_64(c) PLACES_16(c), PLACES_16((c) + 16), PLACES_16((c) + 32), PLACES_16((c) + 48)

static const uint8_t places[256] = {PLACES_64(0x00), PLACES_64(0x40), PLACES_64(0x80),
                                    PLACES_64(0xc0)};

/* --- text ------------------------------------------------------------------------------------- */

/* Does `s` begin with `text`, ASCII case aside? */
static bool starts_nocase(struct ws_str s, const char *text)
{
    size_t i = 0;

    while (i < s.len && text[i] != '\0' && http_lower(s.data[i]) == http_lower(text[i]))
        i++;
    return text[i] == '\0';
}

bool http_is_nocase(struct ws_str s, const char *text)
{
    return s.len == strlen(text) && starts_nocase(s, text);
}

bool http_same_nocase(struct ws_str a, struct ws_str b)
{
    size_t i = 0;

    if (a.len != b.len)
        return false;
    while (i < a.len && http_lower(a.data[i]) == http_lower(b.data[i]))
        i++;
    return i == a.len;
}

bool http_is_token(struct ws_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token_char(s.data[i]))
            return false;
    return s.len > 0;
}

/* The number of bytes from the start that are text. In steps of 8 while none of them is under 0x20
 * (as the HTAB is, too) or 0x7F: a subtraction sets bit 7 of a byte where it borrows. */
static size_t text_run(const char *data, size_t len)
{
    const uint64_t each = 0x0101010101010101u;
    size_t n = 0;

    for (; len - n >= 8; n += 8) {
        uint64_t word, is_7f;

        memcpy(&word, data + n, sizeof word);
        is_7f = word ^ each * 0x7f;
        if ((((word - each * 0x20) & ~word) | ((is_7f - each) & ~is_7f)) & each * 0x80)
            break;
    }
    while (n < len && is_text(data[n]))
        n++;
    return n;
}

struct ws_str http_skip(struct ws_str s, size_t n)
{
    return (struct ws_str){s.data + n, s.len - n};
}

static struct ws_str trim(struct ws_str s)
{
    while (s.len > 0 && is_blank(s.data[0]))
        s = http_skip(s, 1);
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

/* Cut what is before the first `c` off the front of `*rest`, and the `c` too. Without one,
 * everything is cut off. Returns whether there was one. */
static bool cut(struct ws_str *rest, char c, struct ws_str *before)
{
    const char *at = rest->len > 0 ? memchr(rest->data, c, rest->len) : NULL;

    *before = *rest;
    if (at == NULL) {
        *rest = http_skip(*rest, rest->len);
        return false;
    }
    before->len = (size_t)(at - rest->data);
    *rest = http_skip(*rest, before->len + 1);
    return true;
}

/* --- end of the head -------------------------------------------------------------------------- */

/* Each word of the request line has its own limit, and the status for a word that is too long is
 * known before the line ends. */
static const struct {
    size_t max;
    int status;
} words[] = {{HTTP_METHOD_MAX, 400}, {HTTP_TARGET_MAX, 414}, {VERSION_LEN, 400}};

/* Byte `c` at `scan->at`, inside the request line. */
static int scan_request_line(struct http_scan *scan, char c)
{
    if (c == ' ') {
        if (scan->words == sizeof words / sizeof words[0] - 1)
            return -400; /* a fourth word */
        scan->words++;
        scan->word_start = scan->at + 1;
        return 0;
    }
    if (scan->at - scan->word_start >= words[scan->words].max)
        return -words[scan->words].status;
    return 0;
}

/* How many bytes behind the one at `scan->at` are the rest of a word within its limit, or of a
 * field. */
static size_t scan_run(const struct http_scan *scan, const char *data, size_t len)
{
    size_t max = scan->lines == 0 ? scan->word_start + words[scan->words].max - scan->at - 1 : len;
    size_t n = len < max ? len : max;
    const char *space = scan->lines == 0 && n > 0 ? memchr(data, ' ', n) : NULL;

    return text_run(data, space == NULL ? n : (size_t)(space - data));
}

/* Byte `c` at `scan->at`, neither CR nor LF. */
static int scan_byte(struct http_scan *scan, char c)
{
    if (!is_text(c))
        return -400;
    if (scan->lines == 0)
        return scan_request_line(scan, c);
    if (scan->lines == 1 + HTTP_FIELDS_MAX)
        return -431;
    return 0;
}

/* The line whose LF is at `scan->at` has ended. Returns whether the head has. */
static bool scan_line_end(struct http_scan *scan)
{
    bool empty = scan->at - scan->line_start == 1;

    scan->line_start = scan->at + 1;
    if (empty && scan->lines > 0)
        return true;
    scan->word_start = scan->line_start;
    scan->lines += empty ? 0 : 1;
    return false;
}

int http_head_scan(struct http_scan *scan, const char *buf, size_t len)
{
    size_t end = len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX;

    /* `at` stays on the byte that decided, so that another call returns the same. */
    for (; scan->at < end; scan->at++) {
        char c = buf[scan->at];
        bool after_cr = scan->at > 0 && buf[scan->at - 1] == '\r';
        int status = 0;

        if (after_cr != (c == '\n'))
            return -400; /* CR and LF come only as a pair, RFC 9112 §2.2 */
        if (c == '\n') {
            if (scan_line_end(scan))
                return (int)++scan->at;
        } else if (c != '\r') {
            status = scan_byte(scan, c);
            if (status == 0) /* most bytes of a head are in words and fields */
                scan->at += scan_run(scan, buf + scan->at + 1, end - scan->at - 1);
        }
        if (status < 0)
            return status;
    }
    return scan->at >= HTTP_HEAD_MAX ? -431 : HTTP_NEED_MORE;
}

/* --- the request line ------------------------------------------------------------------------- */

static int refuse_with(const char **why, int status, const char *text)
{
    *why = text;
    return -status;
}

/* How many bytes at the front of `s` may stand in `place`: characters that are allowed there, and
 * '%' with two hexadecimal digits. */
static size_t place_length(struct ws_str s, unsigned place)
{
    size_t n = 0;

    for (;;) {
        while (n < s.len && (places[(unsigned char)s.data[n]] & place) != 0)
            n++;
        if (s.len - n < 3 || s.data[n] != '%' || ws_hex_value(s.data[n + 1]) < 0 ||
            ws_hex_value(s.data[n + 2]) < 0)
            return n;
        n += 3;
    }
}

static bool is_ipv6_char(char c)
{
    return is_digit(c) || (http_lower(c) >= 'a' && http_lower(c) <= 'f') || c == ':' || c == '.';
}

size_t http_host_length(struct ws_str s)
{
    size_t n = 1;

    if (s.len == 0 || s.data[0] != '[')
        return place_length(s, IN_HOST);
    while (n < s.len && is_ipv6_char(s.data[n]))
        n++;
    return n > 1 && n < s.len && s.data[n] == ']' ? n + 1 : 0;
}

/* host[:port] of RFC 3986 §3.2, without userinfo. */
static bool is_authority(struct ws_str s)
{
    size_t n = http_host_length(s);

    if (n == 0)
        return false;
    s = http_skip(s, n);
    if (s.len == 0)
        return true;
    if (s.data[0] != ':' || s.len > sizeof ":65535" - 1)
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (!is_digit(s.data[i]))
            return false;
    return true;
}

static int parse_path(struct http_request *r, struct ws_str s, const char **why)
{
    size_t n = place_length(s, IN_PATH);
    struct ws_str rest = http_skip(s, n);

    r->path = (struct ws_str){s.data, n};
    if (rest.len > 0 && rest.data[0] == '%')
        return refuse_with(why, 400, "% without two hex digits in the path");
    if (rest.len > 0 && rest.data[0] != '?')
        return refuse_with(why, 400, "forbidden character in the path");
    r->query = http_skip(rest, rest.len > 0 ? 1 : 0);
    if (place_length(r->query, IN_QUERY) != r->query.len)
        return refuse_with(why, 400, "forbidden character in the query");
    return 0;
}

/* absolute-form, RFC 9112 §3.2.2: its authority replaces the Host field. */
static int parse_absolute_form(struct http_request *r, const char **why)
{
    size_t scheme = starts_nocase(r->target, "http://") ? 7 : 8;
    struct ws_str rest = http_skip(r->target, scheme);
    size_t n = 0;
    int status;

    while (n < rest.len && rest.data[n] != '/' && rest.data[n] != '?')
        n++;
    r->host = (struct ws_str){rest.data, n};
    if (!is_authority(r->host))
        return refuse_with(why, 400, "malformed host in the request target");
    status = parse_path(r, http_skip(rest, n), why);
    /* An empty path means "/" (RFC 9110 §4.2.3). Everything in `r` points into the request, so
     * borrow a slash of the scheme's "//". */
    if (r->path.len == 0)
        r->path = (struct ws_str){r->target.data + scheme - 1, 1};
    return status;
}

static int parse_target(struct http_request *r, const char **why)
{
    if (r->target.len > HTTP_TARGET_MAX)
        return refuse_with(why, 414, "request target too long");
    if (ws_str_is(r->method, "CONNECT")) /* RFC 9110 §9.3.6: its target would be host:port */
        return refuse_with(why, 501, "CONNECT is for proxies, and this server is none");
    if (r->target.len > 0 && r->target.data[0] == '/')
        return parse_path(r, r->target, why);
    if (starts_nocase(r->target, "http://") || starts_nocase(r->target, "https://"))
        return parse_absolute_form(r, why);
    if (!ws_str_is(r->target, "*") || !ws_str_is(r->method, "OPTIONS"))
        return refuse_with(why, 400, "malformed request target");
    r->path = r->target;
    r->query = http_skip(r->target, r->target.len);
    return 0;
}

/* RFC 9112 §2.3: one digit each. A later minor version is served as 1.1, RFC 9110 §2.5. */
static int parse_version(struct http_request *r, struct ws_str v, const char **why)
{
    if (v.len != VERSION_LEN || memcmp(v.data, "HTTP/", 5) != 0 || !is_digit(v.data[5]) ||
        v.data[6] != '.' || !is_digit(v.data[7]))
        return refuse_with(why, 400, "malformed HTTP version");
    if (v.data[5] != '1')
        return refuse_with(why, 505, "only HTTP/1.x is spoken here");
    r->minor = v.data[7] == '0' ? 0 : 1;
    return 0;
}

/* method SP request-target SP HTTP-version, RFC 9112 §3: exactly one space, nothing behind. */
static int parse_request_line(struct http_request *r, struct ws_str line, const char **why)
{
    int status;

    if (!cut(&line, ' ', &r->method) || !cut(&line, ' ', &r->target))
        return refuse_with(why, 400, "malformed request line");
    if (!http_is_token(r->method))
        return refuse_with(why, 400, "the method is not a token");
    if (r->method.len > HTTP_METHOD_MAX)
        return refuse_with(why, 400, "method too long");
    status = parse_version(r, line, why);
    return status != 0 ? status : parse_target(r, why);
}

/* --- fields ----------------------------------------------------------------------------------- */

/* Cut a line off the front of `*rest`. Returns false unless it ends with CRLF. */
static bool line_next(struct ws_str *rest, struct ws_str *line)
{
    if (!cut(rest, '\n', line) || line->len == 0 || line->data[line->len - 1] != '\r')
        return false;
    line->len--;
    return true;
}

static int parse_field(struct http_field *f, struct ws_str line, const char **why)
{
    struct ws_str value = line;

    if (is_blank(line.data[0]))
        return refuse_with(why, 400, "folded field, or space before its name");
    if (!cut(&value, ':', &f->name))
        return refuse_with(why, 400, "field without a colon");
    if (f->name.len == 0)
        return refuse_with(why, 400, "field without a name");
    if (is_blank(f->name.data[f->name.len - 1]))
        return refuse_with(why, 400, "space before the colon in a field");
    if (!http_is_token(f->name))
        return refuse_with(why, 400, "field name is not a token");
    if (text_run(value.data, value.len) != value.len)
        return refuse_with(why, 400, "control character in a field");
    f->value = trim(value);
    return 0;
}

static int parse_fields(struct http_request *r, struct ws_str rest, const char **why)
{
    struct ws_str line;

    while (line_next(&rest, &line)) {
        int status;

        if (line.len == 0)
            return rest.len == 0 ? 0 : refuse_with(why, 400, "bytes behind the head");
        if (r->field_count == HTTP_FIELDS_MAX)
            return refuse_with(why, 431, "too many fields");
        status = parse_field(&r->fields[r->field_count], line, why);
        if (status != 0)
            return status;
        r->field_count++;
    }
    return refuse_with(why, 400, "line without CRLF");
}

/* Where the next field of this name is, from `from` on; r->field_count when there is none. */
static size_t field_next(const struct http_request *r, size_t from, const char *name)
{
    size_t len = strlen(name);

    while (from < r->field_count &&
           (r->fields[from].name.len != len || !starts_nocase(r->fields[from].name, name)))
        from++;
    return from;
}

struct ws_str http_request_field(const struct http_request *r, const char *name, size_t *count)
{
    size_t first = field_next(r, 0, name), found = 0;

    for (size_t i = first; i < r->field_count; i = field_next(r, i + 1, name))
        found++;
    if (count != NULL)
        *count = found;
    return first < r->field_count ? r->fields[first].value : (struct ws_str){NULL, 0};
}

struct ws_str http_query_value(struct ws_str query, const char *name)
{
    struct ws_str value, key;

    while (query.len > 0) {
        cut(&query, '&', &value);
        cut(&value, '=', &key);
        if (ws_str_is(key, name))
            return value;
    }
    return (struct ws_str){NULL, 0};
}

/* Cut what is before the first `separator` outside of quotes off the front of `*rest`, and the
 * separator too. Returns false when nothing is left. */
static bool piece_next(struct ws_str *rest, char separator, struct ws_str *piece)
{
    bool quoted = false;
    size_t n = 0;

    if (rest->len == 0)
        return false;
    for (; n < rest->len && (quoted || rest->data[n] != separator); n++) {
        if (rest->data[n] == '"')
            quoted = !quoted;
        else if (quoted && rest->data[n] == '\\' && n + 1 < rest->len)
            n++; /* quoted-pair, RFC 9110 §5.6.4 */
    }
    *piece = trim((struct ws_str){rest->data, n});
    *rest = http_skip(*rest, n < rest->len ? n + 1 : n);
    return true;
}

bool http_list_next(struct ws_str *rest, struct ws_str *member)
{
    while (piece_next(rest, ',', member))
        if (member->len > 0)
            return true;
    return false;
}

struct ws_str http_member_parameter(struct ws_str member, const char *name)
{
    struct ws_str value, key;

    while (piece_next(&member, ';', &value)) {
        if (!cut(&value, '=', &key) || !http_is_nocase(key, name))
            continue;
        if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
            value = (struct ws_str){value.data + 1, value.len - 2};
        return value;
    }
    return (struct ws_str){NULL, 0};
}

struct ws_str http_request_last_member(const struct http_request *r, const char *name)
{
    struct ws_str last = {NULL, 0};

    for (size_t i = field_next(r, 0, name); i < r->field_count; i = field_next(r, i + 1, name)) {
        struct ws_str rest = r->fields[i].value, member;

        while (http_list_next(&rest, &member))
            last = member;
    }
    return last;
}

/* A member's name, without the /version of Upgrade (RFC 9110 §7.8) or ;parameters. */
static struct ws_str member_name(struct ws_str member)
{
    size_t n = 0;

    while (n < member.len && member.data[n] != ';' && member.data[n] != '/')
        n++;
    return trim((struct ws_str){member.data, n});
}

bool http_request_has_token(const struct http_request *r, const char *name, const char *token)
{
    for (size_t i = field_next(r, 0, name); i < r->field_count; i = field_next(r, i + 1, name)) {
        struct ws_str rest = r->fields[i].value, member;

        while (http_list_next(&rest, &member))
            if (http_is_nocase(member_name(member), token))
                return true;
    }
    return false;
}

/* --- what the fields mean --------------------------------------------------------------------- */

/* RFC 9112 §3.2: one Host on 1.1; 1.0 did not have it yet. */
static int judge_host(struct http_request *r, const char **why)
{
    size_t count;
    struct ws_str host = http_request_field(r, "Host", &count);

    if (count > 1)
        return refuse_with(why, 400, "more than one Host field");
    if (count == 0 && r->minor > 0)
        return refuse_with(why, 400, "no Host field");
    if (count == 1 && !is_authority(host))
        return refuse_with(why, 400, "malformed Host field");
    /* The authority of an absolute-form target replaces Host, RFC 9112 §3.2.2. */
    if (r->host.data == NULL)
        r->host = host;
    return 0;
}

static bool parse_length(struct ws_str s, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint64_t digit = (uint64_t)(s.data[i] - '0');

        if (!is_digit(s.data[i]) || *out > (UINT64_MAX - digit) / 10)
            return false;
        *out = *out * 10 + digit;
    }
    return s.len > 0;
}

/* RFC 9112 §6.3 lets equal Content-Lengths count as one; a list inside one field is refused. */
static int judge_length(struct http_request *r, const char **why)
{
    static const char name[] = "Content-Length";
    size_t at = field_next(r, 0, name); /* there is one: the caller has checked */
    struct ws_str first = r->fields[at].value;

    for (size_t i = at; i < r->field_count; i = field_next(r, i + 1, name)) {
        struct ws_str value = r->fields[i].value;

        if (value.len != first.len || memcmp(value.data, first.data, first.len) != 0)
            return refuse_with(why, 400, "differing Content-Length fields");
    }
    if (!parse_length(first, &r->content_length))
        return refuse_with(why, 400, "malformed Content-Length");
    r->framing = HTTP_BODY_LENGTH;
    return 0;
}

static bool is_chunked(struct ws_str coding)
{
    return http_is_nocase(coding, "chunked");
}

/* RFC 9112 §6.3, §7: the codings of all fields are one list. Unless its last member is chunked, the
 * end of the body is not defined. Codings in front of it would have to be decoded.
 *
 * RFC 9110 §5.6.1.2 wants a recipient to skip empty members. Here they are refused: some proxies do
 * not find chunked in "chunked," and take the body for the next request. No client writes
 * them: the list has one member. */
static int judge_codings(struct http_request *r, const char **why)
{
    static const char name[] = "Transfer-Encoding";
    struct ws_str last = {NULL, 0}, last_name = {NULL, 0}, first;
    size_t codings = 0, chunked = 0, fields;

    for (size_t i = field_next(r, 0, name); i < r->field_count; i = field_next(r, i + 1, name)) {
        struct ws_str rest = r->fields[i].value, member;

        while (http_list_next(&rest, &member)) {
            last = member;
            cut(&member, ';', &last_name);
            last_name = trim(last_name);
            codings++;
            chunked += is_chunked(last_name);
        }
    }
    if (codings == 0)
        return refuse_with(why, 400, "Transfer-Encoding without a coding");
    if (!is_chunked(last_name))
        return refuse_with(why, 400, "the last transfer coding is not chunked");
    if (!is_chunked(last))
        return refuse_with(why, 400, "chunked has no parameters");
    if (chunked > 1)
        return refuse_with(why, 400, "more than one chunked in Transfer-Encoding");
    if (codings > 1)
        return refuse_with(why, 501, "transfer coding other than chunked");
    first = http_request_field(r, name, &fields);
    if (fields > 1 || !is_chunked(first))
        return refuse_with(why, 400, "empty member in Transfer-Encoding");
    r->framing = HTTP_BODY_CHUNKED;
    return 0;
}

/* RFC 9112 §6.1 and §6.3: the end of the body must be defined in one way only. */
static int judge_framing(struct http_request *r, const char **why)
{
    bool coded = field_next(r, 0, "Transfer-Encoding") < r->field_count;
    bool counted = field_next(r, 0, "Content-Length") < r->field_count;

    if (coded && r->minor == 0)
        return refuse_with(why, 400, "Transfer-Encoding in HTTP/1.0");
    if (coded && counted)
        return refuse_with(why, 400, "Content-Length together with Transfer-Encoding");
    if (coded)
        return judge_codings(r, why);
    return counted ? judge_length(r, why) : 0;
}

static void judge_connection(struct http_request *r)
{
    r->keep_alive = !http_request_has_token(r, "Connection", "close") &&
                    (r->minor > 0 || http_request_has_token(r, "Connection", "keep-alive"));
    r->expect_continue = r->minor > 0 && http_request_has_token(r, "Expect", "100-continue");
}

int http_request_parse(struct http_request *r, const char *buf, size_t len, const char **why)
{
    struct ws_str rest = {buf, len}, line;
    int status;

    memset(r, 0, offsetof(struct http_request, fields)); /* the fields are 3 KB: only as needed */
    do {
        if (!line_next(&rest, &line))
            return refuse_with(why, 400, "line without CRLF");
    } while (line.len == 0); /* empty lines before the request, RFC 9112 §2.2 */

    status = parse_request_line(r, line, why);
    if (status == 0)
        status = parse_fields(r, rest, why);
    if (status == 0)
        status = judge_host(r, why);
    if (status == 0)
        status = judge_framing(r, why);
    if (status == 0)
        judge_connection(r);
    return status;
}

/* --- body ------------------------------------------------------------------------------------- */

/* The chunked coding, RFC 9112 §7.1. Each state names the element that the next byte belongs to, or
 * comes after. */
enum chunk_state {
    CHUNK_SIZE,
    CHUNK_EXT_GAP,      /* white space, which only a ';' may end */
    CHUNK_EXT_START,    /* behind the ';' */
    CHUNK_EXT_NAME,     /* a token */
    CHUNK_EXT_NAME_GAP, /* white space behind the name, which only a '=' or ';' may end */
    CHUNK_EXT_EQUALS,   /* behind the '=' */
    CHUNK_EXT_TOKEN,    /* the value */
    CHUNK_EXT_QUOTED,   /* the value, a quoted-string */
    CHUNK_EXT_PAIR,     /* behind a '\\' in it */
    CHUNK_EXT_QUOTE,    /* behind its closing '"' */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_START,
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
    CHUNK_DONE
};

int http_body_begin(struct http_body *b, const struct http_request *r, uint64_t max_bytes)
{
    *b = (struct http_body){.framing = r->framing, .state = CHUNK_SIZE, .max = max_bytes};
    if (r->framing != HTTP_BODY_LENGTH)
        return 0;
    if (r->content_length > max_bytes)
        return -413;
    b->remaining = b->total = r->content_length;
    return 0;
}

/* Count one byte that is not payload; their number is limited. */
static int chunk_overhead(struct http_body *b)
{
    return ++b->overhead > CHUNK_OVERHEAD_MAX ? -431 : 0;
}

static int chunk_digit(struct http_body *b, int value)
{
    if (b->remaining >> 60 != 0)
        return -400; /* the shift would lose a digit */
    b->remaining = b->remaining << 4 | (uint64_t)value;
    if (b->digits == CHUNK_DIGITS)
        return chunk_overhead(b); /* the size still fits: the first digits are zeros */
    b->digits++;
    return 0;
}

/* The state behind byte `c`, which stands behind a size or a whole extension; or -400. */
static int next_extension(char c)
{
    if (c == '\r')
        return CHUNK_SIZE_LF;
    if (c == ';')
        return CHUNK_EXT_START;
    return is_blank(c) ? CHUNK_EXT_GAP : -400;
}

static int chunk_size(struct http_body *b, char c)
{
    int value = ws_hex_value(c), next;

    if (value >= 0)
        return chunk_digit(b, value);
    next = next_extension(c);
    if (b->digits == 0 || next < 0)
        return -400;
    if (b->remaining > b->max - b->total)
        return -413;
    b->total += b->remaining;
    b->state = (uint8_t)next;
    return c == '\r' ? 0 : chunk_overhead(b);
}

/* The state behind byte `c` of an extension, or -400. RFC 9112 §7.1.1:
 * *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
static int extension_byte(enum chunk_state state, char c)
{
    bool blank = is_blank(c);
    bool token = is_token_char(c);

    switch (state) {
    case CHUNK_EXT_GAP:
        return blank ? CHUNK_EXT_GAP : c == ';' ? CHUNK_EXT_START : -400;
    case CHUNK_EXT_START:
        return blank ? CHUNK_EXT_START : token ? CHUNK_EXT_NAME : -400;
    case CHUNK_EXT_NAME:
        if (blank)
            return CHUNK_EXT_NAME_GAP;
        return token ? CHUNK_EXT_NAME : c == '=' ? CHUNK_EXT_EQUALS : next_extension(c);
    case CHUNK_EXT_NAME_GAP:
        if (c == '=')
            return CHUNK_EXT_EQUALS;
        return blank ? CHUNK_EXT_NAME_GAP : c == ';' ? CHUNK_EXT_START : -400;
    case CHUNK_EXT_EQUALS:
        if (c == '"')
            return CHUNK_EXT_QUOTED;
        return blank ? CHUNK_EXT_EQUALS : token ? CHUNK_EXT_TOKEN : -400;
    case CHUNK_EXT_TOKEN:
        return token ? CHUNK_EXT_TOKEN : next_extension(c);
    case CHUNK_EXT_QUOTED: /* RFC 9110 §5.6.4 */
        if (c == '"')
            return CHUNK_EXT_QUOTE;
        return c == '\\' ? CHUNK_EXT_PAIR : is_text(c) ? CHUNK_EXT_QUOTED : -400;
    case CHUNK_EXT_PAIR:
        return is_text(c) ? CHUNK_EXT_QUOTED : -400;
    default:
        assert(state == CHUNK_EXT_QUOTE);
        return next_extension(c);
    }
}

/* The state behind byte `c` of a trailer field, or -400: those of the head, RFC 9112 §5. */
static int trailer_byte(enum chunk_state state, char c)
{
    switch (state) {
    case CHUNK_TRAILER_START:
        return c == '\r' ? CHUNK_END_LF : is_token_char(c) ? CHUNK_TRAILER_NAME : -400;
    case CHUNK_TRAILER_NAME:
        return c == ':' ? CHUNK_TRAILER_VALUE : is_token_char(c) ? CHUNK_TRAILER_NAME : -400;
    default:
        assert(state == CHUNK_TRAILER_VALUE);
        return c == '\r' ? CHUNK_TRAILER_LF : is_text(c) ? CHUNK_TRAILER_VALUE : -400;
    }
}

/* Byte `c` of an extension or a trailer has been checked, and is dropped. */
static int chunk_skip(struct http_body *b, char c, int next)
{
    if (next < 0)
        return next;
    b->state = (uint8_t)next;
    return c == '\r' ? 0 : chunk_overhead(b);
}

static int chunk_expect(struct http_body *b, char c, char expected, enum chunk_state next)
{
    if (c != expected)
        return -400;
    b->state = (uint8_t)next;
    return 0;
}

/* The size line has ended: data follows, or behind the last chunk (size 0) the trailers. */
static int chunk_size_lf(struct http_body *b, char c)
{
    b->digits = 0;
    return chunk_expect(b, c, '\n', b->remaining > 0 ? CHUNK_DATA : CHUNK_TRAILER_START);
}

/* One byte that is not payload. */
static int chunk_byte(struct http_body *b, char c)
{
    enum chunk_state state = (enum chunk_state)b->state;

    switch (state) {
    case CHUNK_SIZE:
        return chunk_size(b, c);
    case CHUNK_EXT_GAP:
    case CHUNK_EXT_START:
    case CHUNK_EXT_NAME:
    case CHUNK_EXT_NAME_GAP:
    case CHUNK_EXT_EQUALS:
    case CHUNK_EXT_TOKEN:
    case CHUNK_EXT_QUOTED:
    case CHUNK_EXT_PAIR:
    case CHUNK_EXT_QUOTE:
        return chunk_skip(b, c, extension_byte(state, c));
    case CHUNK_SIZE_LF:
        return chunk_size_lf(b, c);
    case CHUNK_DATA_CR:
        return chunk_expect(b, c, '\r', CHUNK_DATA_LF);
    case CHUNK_DATA_LF:
        return chunk_expect(b, c, '\n', CHUNK_SIZE);
    case CHUNK_TRAILER_START:
    case CHUNK_TRAILER_NAME:
    case CHUNK_TRAILER_VALUE:
        return chunk_skip(b, c, trailer_byte(state, c));
    case CHUNK_TRAILER_LF:
        return chunk_expect(b, c, '\n', CHUNK_TRAILER_START);
    case CHUNK_END_LF:
        return chunk_expect(b, c, '\n', CHUNK_DONE);
    case CHUNK_DATA: /* uncovered: these bytes are payload, see body_take() */
    case CHUNK_DONE:
        break; /* uncovered: chunked_decode() gives it no byte behind the body */
    }
    return -400; /* uncovered: the same */
}

/* The payload bytes among the next `len` bytes. */
static size_t body_take(struct http_body *b, size_t len)
{
    size_t n = b->remaining < len ? (size_t)b->remaining : len;

    b->remaining -= n;
    return n;
}

static int chunked_decode(struct http_body *b, const char *in, size_t len, size_t *used,
                          const char **data, size_t *data_len)
{
    while (b->state != CHUNK_DONE && *used < len) {
        int status;

        if (b->state == CHUNK_DATA) {
            *data = in + *used;
            *data_len = body_take(b, len - *used);
            *used += *data_len;
            if (b->remaining == 0)
                b->state = CHUNK_DATA_CR;
            return HTTP_NEED_MORE;
        }
        status = chunk_byte(b, in[*used]);
        if (status < 0)
            return status;
        ++*used;
    }
    return b->state == CHUNK_DONE ? 1 : HTTP_NEED_MORE;
}

int http_body_decode(struct http_body *b, const char *in, size_t len, size_t *used,
                     const char **data, size_t *data_len)
{
    *used = 0;
    *data = in;
    *data_len = 0;
    if (b->framing == HTTP_BODY_CHUNKED)
        return chunked_decode(b, in, len, used, data, data_len);
    /* HTTP_BODY_NONE is a length of 0. */
    *used = *data_len = body_take(b, len);
    return b->remaining == 0 ? 1 : HTTP_NEED_MORE;
}

/* --- response --------------------------------------------------------------------------------- */

static void write_bytes(struct http_writer *w, const char *data, size_t len)
{
    if (w->failed || len > w->cap - w->len) {
        w->failed = true;
        return;
    }
    if (len > 0)
        memcpy(w->out + w->len, data, len);
    w->len += len;
}

static void write_text(struct http_writer *w, const char *text)
{
    write_bytes(w, text, strlen(text));
}

/* Write `n` in decimal into the end of `out`; returns where it begins. */
static size_t decimal(char out[DECIMAL_SIZE], uint64_t n)
{
    size_t at = DECIMAL_SIZE;

    do {
        out[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return at;
}

void http_writer_init(struct http_writer *w, char *out, size_t cap, int status)
{
    char digits[DECIMAL_SIZE];
    size_t at;

    *w = (struct http_writer){.out = out, .cap = cap};
    if (status < 100 || status > 999) {
        w->failed = true;
        return;
    }
    at = decimal(digits, (uint64_t)status);
    write_text(w, "HTTP/1.1 ");
    write_bytes(w, digits + at, DECIMAL_SIZE - at);
    write_text(w, " ");
    write_text(w, http_status_phrase(status));
    write_text(w, "\r\n");
}

void http_writer_field(struct http_writer *w, struct ws_str name, struct ws_str value)
{
    if (!http_is_token(name) || text_run(value.data, value.len) != value.len)
        w->failed = true;
    write_bytes(w, name.data, name.len);
    write_text(w, ": ");
    write_bytes(w, value.data, value.len);
    write_text(w, "\r\n");
}

void http_writer_number(struct http_writer *w, const char *name, uint64_t value)
{
    char digits[DECIMAL_SIZE];
    size_t at = decimal(digits, value);

    http_writer_field(w, ws_str(name), (struct ws_str){digits + at, DECIMAL_SIZE - at});
}

ptrdiff_t http_writer_end(struct http_writer *w)
{
    write_text(w, "\r\n");
    return w->failed ? -1 : (ptrdiff_t)w->len;
}

const char *http_status_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Status";
}
