/* SPDX-License-Identifier: MIT
 *
 * The heads of requests, RFC 9112 §2 to §6, with one check that may be missing; see broken.h.
 *
 * A fault of the form `--fault line=X`, `host=X`, `field=X`, `length=X` or `coding=X` names the
 * check. */
#include "broken.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FIELDS_MAX = 100 };

void trim_end(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        text[--len] = '\0';
}

static bool is_token(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (!isalnum((unsigned char)*text) && strchr("!#$%&'*+-.^_`|~", *text) == NULL)
            return false;
    return true;
}

/* --- the request line ------------------------------------------------------------------------- */

/* "HTTP/1.x" */
static int parse_version(struct request *r, const struct fault *f, const char *text)
{
    size_t len = strlen(text);

    r->minor = 1;
    if (fault_has(f, "line", "version-case") && strcasecmp(text, "HTTP/1.1") == 0)
        return 0;
    if (fault_has(f, "line", "version-ends-in-1.1") && len >= 3 &&
        strcmp(text + len - 3, "1.1") == 0)
        return 0;
    if (strncmp(text, "HTTP/", 5) != 0)
        return 400;
    if (fault_has(f, "line", "version-atof") && atof(text + 5) >= 1.1 && atof(text + 5) < 2)
        return 0;
    if (fault_has(f, "line", "version-1.1-or-more") && atof(text + 5) >= 1.1)
        return 0;
    /* atof() would read 1.10 as 1.1: each number is one digit. */
    if (len != 8 || !isdigit((unsigned char)text[5]) || text[6] != '.' ||
        !isdigit((unsigned char)text[7]))
        return 400;
    r->minor = text[7] - '0';
    return text[5] == '1' ? 0 : 505;
}

static int check_target(const struct fault *f, const char *target)
{
    bool absolute = fault_has(f, "line", "scheme-case") ? strncmp(target, "http://", 7) == 0
                                                        : strncasecmp(target, "http://", 7) == 0;

    if (target[0] != '/' && strcmp(target, "*") != 0 &&
        (!absolute || fault_has(f, "line", "no-absolute-form")) &&
        !fault_has(f, "line", "any-target"))
        return 400;
    for (; *target != '\0'; target++)
        if (((unsigned char)*target < ' ' || *target == 0x7f) &&
            !fault_has(f, "line", "control-in-target"))
            return 400;
    return 0;
}

/* White space that should be refused is put right. */
static char *excuse_blanks(const struct fault *f, char *line)
{
    char *double_space;

    if (fault_has(f, "line", "tabs"))
        for (char *tab = line; (tab = strchr(tab, '\t')) != NULL;)
            *tab = ' ';
    if (fault_has(f, "line", "space-at-end"))
        trim_end(line);
    if (fault_has(f, "line", "space-before"))
        line += strspn(line, " ");
    if (fault_has(f, "line", "spaces"))
        while ((double_space = strstr(line, "  ")) != NULL)
            memmove(double_space, double_space + 1, strlen(double_space));
    return line;
}

/* A line of two parts. */
static int parse_short_line(struct request *r, const struct fault *f, char *first, char *second)
{
    r->method = first;
    r->target = second;
    r->minor = 1;
    if (fault_has(f, "line", "no-version"))
        return strncmp(second, "HTTP/", 5) == 0 ? 400 : 0;
    if (fault_has(f, "line", "no-method") && first[0] == '/') {
        r->method = "GET";
        r->target = first;
        return parse_version(r, f, second);
    }
    if (fault_has(f, "line", "no-target") && first[0] != '/') {
        r->target = "/";
        return parse_version(r, f, second);
    }
    return 400;
}

static int parse_line(struct request *r, const struct fault *f, char *line)
{
    char *target, *version;
    int status;

    line = excuse_blanks(f, line);
    target = strchr(line, ' ');
    if (target == NULL)
        return 400;
    *target++ = '\0';
    version = fault_has(f, "line", "space-in-target") ? strrchr(target, ' ') : strchr(target, ' ');
    if (version == NULL)
        return parse_short_line(r, f, line, target);
    *version++ = '\0';
    r->method = line;
    r->target = target;
    if (!is_token(line) && !fault_has(f, "unchecked", "method"))
        return 400;
    status = parse_version(r, f, version);
    return status != 0 ? status : check_target(f, target);
}

/* --- fields ----------------------------------------------------------------------------------- */

static void add_field(struct request *r, char *name, char *value)
{
    struct field *fields = r->fields;

    if ((r->count & (r->count - 1)) == 0) /* a power of two, or 0: it is full */
        fields = realloc(fields, (r->count == 0 ? 1 : 2 * r->count) * sizeof *fields);
    if (fields == NULL)
        abort();
    r->fields = fields;
    r->fields[r->count++] = (struct field){name, value};
}

static bool is_name(const struct fault *f, const char *name)
{
    if (fault_has(f, "field", "empty-name") && name[0] == '\0')
        return true;
    if (fault_has(f, "field", "space-in-name"))
        return strchr(name, ' ') != NULL || is_token(name);
    if (fault_has(f, "field", "bracket-in-name"))
        return strpbrk(name, "[]") != NULL || is_token(name);
    if (fault_has(f, "field", "non-ascii-name")) /* isalnum() of a locale */
        return strpbrk(name, "\xc3\xa9") != NULL || is_token(name);
    return is_token(name);
}

static bool is_value(const struct fault *f, const char *value)
{
    if (fault_has(f, "value", "empty-refused") && *value == '\0')
        return false;
    if (fault_has(f, "value", "quote-refused") && strchr(value, '"') != NULL)
        return false;
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;

        if (c > 0x7e && fault_has(f, "value", "ascii"))
            return false;
        if (c == '\r' ? !fault_has(f, "field", "bare-cr") : (c < ' ' && c != '\t') || c == 0x7f) {
            if (c == '\r' || !fault_has(f, "field", "control-in-value"))
                return false;
        }
    }
    return true;
}

/* White space around it is not part of it. */
static char *trim(const struct fault *f, char *value)
{
    if (fault_has(f, "value", "one-space"))
        return value + (*value == ' ');
    value += strspn(value, " \t");
    if (!fault_has(f, "value", "not-trimmed"))
        trim_end(value);
    return value;
}

static int parse_field(struct request *r, const struct fault *f, char *line)
{
    char *colon = strchr(line, ':');
    char *value;

    if (fault_has(f, "field", "leading-space"))
        line += strspn(line, " ");
    if (line[0] == ' ' || line[0] == '\t') /* the mistake: it is skipped, folded or not */
        return fault_has(f, "field", "folded") ? 0 : 400;
    if (colon == NULL)
        return fault_has(f, "field", "no-colon") ? 0 : 400;
    if (fault_has(f, "value", "needs-space") && colon[1] != ' ' && colon[1] != '\0')
        return 400;
    *colon = '\0';
    if (fault_has(f, "field", "space-before-colon"))
        trim_end(line);
    value = trim(f, colon + 1);
    if (!is_name(f, line) || !is_value(f, value))
        return 400;
    add_field(r, line, value);
    return 0;
}

static bool same_name(const struct fault *f, const char *a, const char *b)
{
    return fault_is(f, "names-as-written") ? strcmp(a, b) == 0 : strcasecmp(a, b) == 0;
}

const char *request_field(const struct request *r, const struct fault *f, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (same_name(f, r->fields[i].name, name))
            return r->fields[i].value;
    return NULL;
}

size_t request_count(const struct request *r, const struct fault *f, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < r->count; i++)
        count += same_name(f, r->fields[i].name, name);
    return count;
}

/* --- Host, RFC 9112 §3.2 ---------------------------------------------------------------------- */

static bool is_host(const struct fault *f, const char *host)
{
    const char *more = fault_has(f, "host", "space")  ? " "
                       : fault_has(f, "host", "path") ? "/"
                       : fault_has(f, "host", "user") ? "@"
                       : fault_has(f, "host", "list") ? ", "
                                                      : "";
    const char *port = host[0] == '[' ? strchr(host, ']') : host;

    for (const char *p = host; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p) && strchr("-._~%[]:", *p) == NULL &&
            strchr(more, *p) == NULL)
            return false;
    port = port == NULL ? NULL : strchr(port, ':');
    return port == NULL || fault_has(f, "host", "any-port") ||
           port[1 + strspn(port + 1, "0123456789")] == '\0';
}

static int check_host(const struct request *r, const struct fault *f)
{
    const char *host = request_field(r, f, "Host");
    size_t count = request_count(r, f, "Host");

    if (host == NULL)
        return r->minor == 0 || fault_has(f, "unchecked", "host") ? 0 : 400;
    if (fault_has(f, "host", "first") && strcasecmp(r->fields[0].name, "Host") != 0)
        return 400;
    if (count > 1 && !fault_has(f, "host", "two"))
        return 400;
    return is_host(f, host) ? 0 : 400;
}

/* --- how long the body is, RFC 9112 §6.3 ------------------------------------------------------ */

static int parse_length(struct request *r, const struct fault *f, const char *value)
{
    unsigned long long length = 0;

    if (fault_has(f, "length", "atol")) {
        r->length = atol(value) > 0 && atol(value) < 100 ? (unsigned long long)atol(value) : 0;
        return 0;
    }
    if (*value == '\0')
        return 400;
    for (; *value != '\0'; value++) {
        unsigned digit = (unsigned)*value - '0';

        if (*value == ',' && fault_has(f, "length", "list"))
            break;
        if (digit > 9)
            return 400;
        if (length > (UINT64_MAX - digit) / 10 && !fault_has(f, "length", "wraps"))
            return 400;
        length = length * 10 + digit;
    }
    r->length = length;
    return 0;
}

static int check_coding(struct request *r, const struct fault *f, const char *coding)
{
    r->chunked = strcasecmp(coding, "chunked") == 0 ||
                 (fault_has(f, "coding", "substring") && strstr(coding, "chunked") != NULL);
    if (!r->chunked && !fault_has(f, "coding", "unknown"))
        return 501;
    if (r->minor == 0 && !fault_has(f, "coding", "in-1.0"))
        return 400;
    return request_field(r, f, "Content-Length") == NULL || fault_has(f, "coding", "and-length")
               ? 0
               : 400;
}

static int check_body(struct request *r, const struct fault *f)
{
    const char *length = request_field(r, f, "Content-Length");
    const char *coding = request_field(r, f, "Transfer-Encoding");

    if (coding != NULL)
        return check_coding(r, f, coding);
    if (length == NULL)
        return 0;
    if (request_count(r, f, "Content-Length") > 1 && !fault_has(f, "length", "first-of-two"))
        return 400;
    return parse_length(r, f, length);
}

/* --- the whole -------------------------------------------------------------------------------- */

static char *next_line(char **head)
{
    char *line = *head;
    char *end = strstr(line, "\r\n");

    if (end == NULL)
        return NULL;
    *end = '\0';
    *head = end + 2;
    return line;
}

/* A NUL ends a string of C: the mistake is to forget that others read on. At the start of a line it
 * ends the head for parse_field(), as an empty line does. */
static int check_nul(const struct fault *f, char *head, size_t len)
{
    char *nul;

    if (memmem(head, len, "\n\0", 2) != NULL && fault_has(f, "field", "nul-at-start"))
        return 0;
    if (memchr(head, '\0', len) != NULL && !fault_has(f, "field", "nul"))
        return 400;
    while ((nul = memchr(head, '\0', len)) != NULL)
        *nul = ' ';
    return 0;
}

int request_parse(struct request *r, const struct fault *f, char *head, size_t len)
{
    size_t fields_max = (size_t)fault_number(f, "fields-max", FIELDS_MAX);
    int status = check_nul(f, head, len);
    char *line;

    *r = (struct request){.minor = 1};
    if (status == 0)
        status = parse_line(r, f, next_line(&head));
    while (status == 0 && (line = next_line(&head)) != NULL && line[0] != '\0') {
        status = parse_field(r, f, line);
        if (r->count > fields_max && !fault_is(f, "head-unlimited"))
            status = 431;
    }
    if (status == 0)
        status = check_host(r, f);
    return status != 0 ? status : check_body(r, f);
}

void request_release(struct request *r)
{
    free(r->fields);
    *r = (struct request){0};
}
