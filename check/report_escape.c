/* SPDX-License-Identifier: MIT
 *
 * Text for a report; see report_escape.h. */
#include "report_escape.h"

#include <string.h>

/* Bytes of the character that begins so; 0: none does. RFC 3629 §4 */
static size_t size_of(uint8_t first)
{
    return first < 0x80                    ? 1
           : first >= 0xc2 && first < 0xe0 ? 2
           : first >= 0xe0 && first < 0xf0 ? 3
           : first >= 0xf0 && first < 0xf5 ? 4
                                           : 0;
}

static uint32_t code_point(const uint8_t *s, size_t size)
{
    uint32_t c = size == 1 ? s[0] : s[0] & (0x7fU >> size);

    for (size_t i = 1; i < size; i++)
        c = c << 6 | (s[i] & 0x3fU);
    return c;
}

/* Controls, what turns the direction of the text around it, what has no width, and what Unicode
 * says is no character, which XML forbids. */
static bool is_unseen(uint32_t c)
{
    static const struct {
        uint32_t from, to;
    } ranges[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},   {0x180e, 0x180e},
        {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0xe000, 0xf8ff}, {0xfdd0, 0xfdef},
        {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0x10ffff},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i].from && c <= ranges[i].to)
            return true;
    return (c & 0xfffe) == 0xfffe;
}

/* Bytes at `s` that can be shown as they are; 0: the first one cannot. */
static size_t shown(const uint8_t *s, size_t left)
{
    size_t size = size_of(s[0]);

    if (size == 0 || size > left || !is_utf8(s, size) || is_unseen(code_point(s, size)))
        return 0;
    return size;
}

static void add_byte(struct bytes *out, uint8_t byte)
{
    if (byte == '\r')
        bytes_add_text(out, "\\r");
    else if (byte == '\n')
        bytes_add_text(out, "\\n");
    else if (byte == '\t')
        bytes_add_text(out, "\\t");
    else
        bytes_add_format(out, "\\x%02x", byte);
}

void add_visible(struct bytes *out, const void *data, size_t len)
{
    const uint8_t *s = data;

    while (len > 0) {
        size_t size = shown(s, len);

        if (size == 0)
            add_byte(out, s[0]);
        else if (s[0] == '\\')
            bytes_add_text(out, "\\\\");
        else
            bytes_add(out, s, size);
        s += size == 0 ? 1 : size;
        len -= size == 0 ? 1 : size;
    }
}

void add_shell_word(struct bytes *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "@%+=:,./-_";

    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        bytes_add_text(out, word);
        return;
    }
    bytes_add_text(out, "'");
    for (; *word != '\0'; word++)
        if (*word == '\'')
            bytes_add_text(out, "'\"'\"'"); /* without a backslash, which would show as two */
        else
            bytes_add(out, word, 1);
    bytes_add_text(out, "'");
}

void add_hex(struct bytes *out, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes_add_format(out, "%s%02x", i == 0 ? "" : " ", data[i]);
}

void put_bytes(FILE *out, const struct bytes *b)
{
    if (b->len > 0)
        fwrite(b->data, 1, b->len, out);
}

void put_visible(FILE *out, const char *text)
{
    struct bytes b = {0};

    add_visible(&b, text, strlen(text));
    put_bytes(out, &b);
    bytes_release(&b);
}

void put_json(FILE *out, const char *text)
{
    struct bytes b = {0};

    add_visible(&b, text, strlen(text));
    fputc('"', out);
    for (size_t i = 0; i < b.len; i++) {
        if (b.data[i] == '"' || b.data[i] == '\\')
            fputc('\\', out);
        fputc(b.data[i], out);
    }
    fputc('"', out);
    bytes_release(&b);
}

void put_xml_lines(FILE *out, const struct bytes *lines)
{
    for (size_t i = 0; i < lines->len; i++) {
        switch (lines->data[i]) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>': /* "]]>" must not stand in a text */
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            fputc(lines->data[i], out);
            break;
        }
    }
}

void put_xml(FILE *out, const char *text)
{
    struct bytes b = {0};

    add_visible(&b, text, strlen(text));
    put_xml_lines(out, &b);
    bytes_release(&b);
}
