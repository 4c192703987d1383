/* SPDX-License-Identifier: MIT
 *
 * JSON, RFC 8259, as far as the events of Socket.IO need it. No tree is built: a value is a slice
 * of the text that it came in, and each function below reads the text again. It keeps nothing and
 * does no I/O; of the core it calls only ws_utf8_valid().
 *
 *     struct ws_str list = json_inside(array), value;
 *     while (json_next(&list, &value))
 *         if (json_string_is(value, "hello"))
 *             ...
 *
 * A *list* is values between commas, without the brackets: the inside of an array, or the arguments
 * of an event. All readers accept any text: where it is not valid JSON, it is refused, or the list
 * ends. The texts that they return are valid for as long as the text they were given.
 *
 * Text must be UTF-8 without surrogates (§8.1), nesting is at most JSON_DEPTH_MAX (§9), and of
 * several members with one name the last counts, as in JavaScript. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../ws.h" /* struct ws_str */

#ifdef __cplusplus
extern "C" {
#endif

enum { JSON_DEPTH_MAX = 128 };

enum json_type {
    JSON_INVALID = 0,
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

/* --- reading ---------------------------------------------------------------------------------- */

/* The one value that `text` consists of, without the white space around it; data is NULL when the
 * text is anything but one valid value. */
struct ws_str json_parse(struct ws_str text);

/* Is `text` a list of valid values, or nothing but white space? */
bool json_is_list(struct ws_str text);

/* The type of a value, by its first character alone: for values that have been parsed. */
enum json_type json_type(struct ws_str value);

/* The text between the brackets of an array or object; empty for any other value. */
struct ws_str json_inside(struct ws_str value);

/* Take the first value off `list`. False when there is none, or none that is valid. */
bool json_next(struct ws_str *list, struct ws_str *value);

/* The same for the inside of an object; `name` is the JSON string with its quotes. */
bool json_next_member(struct ws_str *list, struct ws_str *name, struct ws_str *value);

/* Take the next token off `rest`: one bracket, comma or colon, or a whole scalar. False at the end,
 * or if there is no legal token. The order of tokens is not checked. */
bool json_token(struct ws_str *rest, struct ws_str *token);

/* Value number `index` of a list, from 0; data is NULL when there is none. */
struct ws_str json_at(struct ws_str list, size_t index);

/* A member of an object; data is NULL if there is none, or if `object` is no object. */
struct ws_str json_member(struct ws_str object, const char *name);

/* These return false, and leave *out alone, when the value is of another type. A number beyond the
 * range of a double is infinite, as in JavaScript; an integer may be written 1.0 or 1e2, but lies
 * within +-(2^53 - 1), where a double is exact. */
bool json_bool(struct ws_str value, bool *out);
bool json_number(struct ws_str value, double *out);
bool json_integer(struct ws_str value, int64_t *out);

/* Write the characters of a string, its escapes resolved, and a NUL. A lone surrogate, which UTF-8
 * cannot express, becomes U+FFFD. value.len bytes of room are always enough.
 *
 * Returns the length without the NUL (characters may be NULs themselves), or -1 when the value is
 * no string or does not fit into `size` bytes. */
ptrdiff_t json_string(struct ws_str value, char *out, size_t size);

/* Is the value a string of exactly these characters, however it is escaped? */
bool json_string_is(struct ws_str value, const char *text);

/* Decode the one UTF-8 character at the start of `text`. Returns its bytes, 1 to 4, or 0 if there
 * is none. A surrogate in its three bytes is accepted; the caller decides what to do with it. */
size_t json_character(struct ws_str text, uint32_t *character);

/* --- writing ---------------------------------------------------------------------------------- */

/* Text that grows. All zero is empty. Commas are added automatically, so that values written one
 * after the other are a list. Out of memory sets `failed`, and drops what was written and what
 * follows. */
struct json_writer {
    char *data;
    size_t len;
    size_t cap;
    bool failed;
};

void json_write_null(struct json_writer *w);
void json_write_bool(struct json_writer *w, bool value);
/* Write the shortest form that reads back as the same double, as JavaScript does; null if not
 * finite. */
void json_write_number(struct json_writer *w, double value);
void json_write_integer(struct json_writer *w, int64_t value);

/* Quoted and escaped like JSON.stringify: only what must be escaped is, in its shortest form. A
 * surrogate in its three bytes becomes \udxxx, other bytes that are not UTF-8 become U+FFFD. */
void json_write_string(struct json_writer *w, const char *text, size_t len);

/* Write a value or a list as it is; the caller must ensure that it is valid. An empty list writes
 * nothing. */
void json_write_raw(struct json_writer *w, struct ws_str text);

/* Write any characters as they are, without a comma before them: for text around the JSON. */
void json_write_text(struct json_writer *w, const char *text, size_t len);

void json_begin_array(struct json_writer *w);
void json_end_array(struct json_writer *w);
void json_begin_object(struct json_writer *w);
void json_write_name(struct json_writer *w, const char *name); /* of the member that follows */
void json_end_object(struct json_writer *w);

/* What was written, valid until the next write; data is NULL after a failure. */
struct ws_str json_written(const struct json_writer *w);
void json_writer_clear(struct json_writer *w);   /* empty, but the memory stays */
void json_writer_release(struct json_writer *w); /* back to all zero */

#ifdef __cplusplus
}
#endif

#endif
