/* SPDX-License-Identifier: MIT
 *
 * The opening handshake, RFC 6455 §4: what a server answers, which forms it has to accept, and
 * which it has to refuse. */
#include <stdio.h>
#include <string.h>

#include "script.h"

#define RFC "RFC 6455 "

/* --- the answer ------------------------------------------------------------------------------- */

/* A field of the 101. */
struct answer {
    const char *name;
    const char *section;
    const char *demand;
    const char *hint;
    const char *field;
    enum match match;
    const char *text;
};

static const struct answer answers[] = {
    {"upgrade", RFC "§4.2.2", "The 101 has the field Upgrade with the value \"websocket\".",
     "A browser fails the connection without it.", "Upgrade", MATCH_IS, "websocket"},
    {"connection", RFC "§4.2.2", "The 101 has the field Connection with the token \"Upgrade\".",
     "\"Connection: keep-alive\" in place of it is a common slip.", "Connection", MATCH_HAS_TOKEN,
     "upgrade"},
    {"accept", RFC "§4.2.2",
     "Sec-WebSocket-Accept is the base64 of the SHA-1 of the key and the GUID of §1.3.",
     "The SHA-1 is encoded as 20 bytes, not as 40 hexadecimal digits, and the key is not decoded "
     "before.",
     "Sec-WebSocket-Accept", MATCH_EXACTLY, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
    {"no-extension", RFC "§9.1",
     "The server agrees to no extension that the client has not offered.", NULL,
     "Sec-WebSocket-Extensions", MATCH_ABSENT, NULL},
    {"no-subprotocol", RFC "§4.2.2",
     "The server chooses no subprotocol where the client has offered none.", NULL,
     "Sec-WebSocket-Protocol", MATCH_ABSENT, NULL},
    {"no-length", "RFC 9110 §8.6", "A response of status 101 has no Content-Length.", NULL,
     "Content-Length", MATCH_ABSENT, NULL},
    {"no-transfer-encoding", "RFC 9112 §6.1", "A response of status 101 has no Transfer-Encoding.",
     NULL, "Transfer-Encoding", MATCH_ABSENT, NULL},
};

static void build_answer(struct script *s, const struct check_case *c)
{
    const struct answer *answer = c->p;

    open_websocket(s);
    expect_header(s, answer->field, answer->match, answer->text);
}

static void add_answers(struct suite *suite)
{
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const struct answer *a = &answers[i];

        suite_add(suite,
                  &(struct check_case){.level = LEVEL_HANDSHAKE,
                                       .section = a->section,
                                       .demand = a->demand,
                                       .hint = a->hint,
                                       .build = build_answer,
                                       .p = a},
                  "handshake/answer/%s", a->name);
    }
}

/* The key is what the accept value depends on, and on nothing else. */
static void build_key(struct script *s, const struct check_case *c)
{
    const char *key = c->p;
    char accept[ACCEPT_SIZE];

    accept_of(accept, key);
    send_line(s,
              "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n",
              s->path, s->host, key);
    expect_status(s, 101, 101);
    expect_header(s, "Sec-WebSocket-Accept", MATCH_EXACTLY, accept);
}

static void add_keys(struct suite *suite)
{
    static const char *const keys[] = {
        "AAAAAAAAAAAAAAAAAAAAAA==", "/////////////////////w==", "x3JJHMbDL1EzLkh9GBhXDw==",
        "+/+/+/+/+/+/+/+/+/+/+w==", "AQIDBAUGBwgJCgsMDQ4PEA=="};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        suite_add(suite,
                  &(struct check_case){.level = LEVEL_HANDSHAKE,
                                       .section = RFC "§4.2.2",
                                       .demand = "Sec-WebSocket-Accept is computed from the key of "
                                                 "this very handshake.",
                                       .build = build_key,
                                       .p = keys[i]},
                  "handshake/key/%zu", i + 1);
}

/* --- forms that are legal --------------------------------------------------------------------- */

/* head: all of it but its empty line; %1$s is the path, %2$s the host. */
struct form {
    const char *name;
    const char *demand;
    const char *hint;
    const char *head;
};

#define START   "GET %1$s HTTP/1.1\r\nHost: %2$s\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEYLINE "Sec-WebSocket-Key: " KEY "\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define GOOD    START UPGRADE KEYLINE VERSION

static const struct form legal[] = {
    {"plain", "A handshake with nothing but what §4.1 asks for is accepted.", NULL, GOOD},
    {"connection-list", "Connection may be a list: \"keep-alive, Upgrade\" is what Firefox sends.",
     "Look for the token in the list; do not compare the whole value.",
     START "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" KEYLINE VERSION},
    {"connection-list-tight", "The items of the list need no space between them.", NULL,
     START "Upgrade: websocket\r\nConnection: keep-alive,Upgrade\r\n" KEYLINE VERSION},
    {"connection-two-fields", "Two fields Connection are one list.", NULL,
     START
     "Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n" KEYLINE VERSION},
    {"connection-case", "The token of Connection is compared without regard to case.", NULL,
     START "Upgrade: websocket\r\nConnection: uPGRADE\r\n" KEYLINE VERSION},
    {"upgrade-case", "The value of Upgrade is compared without regard to case.",
     "Old clients send \"WebSocket\".",
     START "Upgrade: WebSocket\r\nConnection: Upgrade\r\n" KEYLINE VERSION},
    {"names-lower-case", "Field names are compared without regard to case.", NULL,
     "GET %1$s HTTP/1.1\r\nhost: %2$s\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
     "sec-websocket-key: " KEY "\r\nsec-websocket-version: 13\r\n"},
    {"names-upper-case", "Field names are compared without regard to case.", NULL,
     "GET %1$s HTTP/1.1\r\nHOST: %2$s\r\nUPGRADE: websocket\r\nCONNECTION: UPGRADE\r\n"
     "SEC-WEBSOCKET-KEY: " KEY "\r\nSEC-WEBSOCKET-VERSION: 13\r\n"},
    {"no-space-after-colon", "White space after the colon is optional.", NULL,
     "GET %1$s HTTP/1.1\r\nHost:%2$s\r\nUpgrade:websocket\r\nConnection:Upgrade\r\n"
     "Sec-WebSocket-Key:" KEY "\r\nSec-WebSocket-Version:13\r\n"},
    {"spaces-around-values", "White space around a value is not part of it.",
     "Trim the key before it is hashed.",
     "GET %1$s HTTP/1.1\r\nHost: %2$s  \r\nUpgrade:   websocket \r\nConnection: \tUpgrade\t\r\n"
     "Sec-WebSocket-Key:  " KEY "  \r\nSec-WebSocket-Version:  13 \r\n"},
    {"order", "The fields may come in any order.", NULL,
     "GET %1$s HTTP/1.1\r\n" VERSION KEYLINE "Connection: Upgrade\r\nUpgrade: websocket\r\n"
     "Host: %2$s\r\n"},
    {"unknown-fields", "Fields that the server does not know are ignored.", NULL,
     GOOD "X-Anything: at all\r\nDNT: 1\r\nSec-Fetch-Mode: websocket\r\n"},
    {"empty-value", "A field may have an empty value.", NULL, GOOD "X-Empty:\r\n"},
    {"browser", "The head of a browser is accepted.", NULL,
     START UPGRADE "Pragma: no-cache\r\nCache-Control: no-cache\r\n"
                   "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like "
                   "Gecko) Chrome/120.0.0.0 Safari/537.36\r\n"
                   "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n"
                   "Cookie: a=1; b=\"two\"\r\nOrigin: http://%2$s\r\n" KEYLINE VERSION},
    {"obs-text", "Bytes over 127 are legal in the value of a field.", NULL,
     GOOD "X-Name: caf\xc3\xa9 \xff\r\n"},
    {"colon-in-value", "A value may hold colons and quotes.", NULL,
     GOOD "X-Time: \"12:30:00\"\r\n"},
    {"unknown-extension",
     "An extension that the server does not know is declined by leaving it out.", NULL,
     GOOD "Sec-WebSocket-Extensions: x-unknown-extension; a=1\r\n"},
    {"two-unknown-extensions", "Extensions may be offered in several fields.", NULL,
     GOOD "Sec-WebSocket-Extensions: x-one\r\nSec-WebSocket-Extensions: x-two; b=\"2\"\r\n"},
};

/* The head and its empty line in one segment: a server that takes one recv() for a head is wrong,
 * but not here. */
static void send_head(struct script *s, const char *head)
{
    char whole[4096];

    snprintf(whole, sizeof whole, "%s\r\n", head);
    send_template(s, whole);
}

static void build_legal(struct script *s, const struct check_case *c)
{
    const struct form *form = c->p;

    send_head(s, form->head);
    expect_status(s, 101, 101);
    expect_header(s, "Sec-WebSocket-Accept", MATCH_EXACTLY, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    expect_header(s, "Sec-WebSocket-Extensions", MATCH_ABSENT, NULL);
}

static void build_in_pieces(struct script *s, const struct check_case *c)
{
    in_pieces(s, (size_t)c->a);
    send_head(s, GOOD);
    expect_status(s, 101, 101);
}

static void build_long(struct script *s, const struct check_case *c)
{
    send_upgrade_head(s);
    for (long i = 0; i < c->a; i++)
        send_line(s, "X-Filler-%ld: %.*s", i, (int)c->b,
                  "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
    send_line(s, "%s", "");
    expect_status(s, 101, 101)->should = true;
}

static void build_subprotocol(struct script *s, const struct check_case *c)
{
    send_upgrade_head(s);
    send_line(s, "Sec-WebSocket-Protocol: %s\r\n", (const char *)c->p);
    expect_status(s, 101, 101);
    expect_header(s, "Sec-WebSocket-Protocol", MATCH_ABSENT_OR_IS, "x-unknown.example");
}

static void add_legal(struct suite *suite)
{
    static const long pieces[] = {1, 2, 3, 10, 40};
    struct check_case like = {.level = LEVEL_HANDSHAKE, .section = RFC "§4.2.1"};

    for (size_t i = 0; i < sizeof legal / sizeof legal[0]; i++) {
        like.demand = legal[i].demand;
        like.hint = legal[i].hint;
        like.build = build_legal;
        like.p = &legal[i];
        suite_add(suite, &like, "handshake/legal/%s", legal[i].name);
    }
    like.demand = "The head may arrive in any number of segments.";
    like.hint = "One recv() is not one request: go on until the empty line has come.";
    like.build = build_in_pieces;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        like.a = pieces[i];
        suite_add(suite, &like, "handshake/pieces-of/%ld", pieces[i]);
    }
    like.demand = "A head of 4 KiB is no attack: cookies are as long.";
    like.hint = NULL;
    like.build = build_long;
    like.a = 50;
    like.b = 60;
    suite_add(suite, &like, "handshake/long/4-kib");
    like.a = 40;
    like.b = 3;
    suite_add(suite, &like, "handshake/long/40-fields");
    like.section = RFC "§4.2.2";
    like.demand = "The server chooses one of the subprotocols that were offered, or none.";
    like.build = build_subprotocol;
    like.p = "x-unknown.example";
    suite_add(suite, &like, "handshake/subprotocol/unknown");
}

/* --- forms that have to be refused ------------------------------------------------------------ */

enum { ANY_STATUS = 1 /* it is a plain request, so its answer may be a page */ };

static const struct {
    struct form form;
    int flags;
    const char *section;
} refused[] = {
    {{"no-upgrade", "Without Upgrade it is no handshake, and there is no 101.", NULL,
      START "Connection: Upgrade\r\n" KEYLINE VERSION},
     ANY_STATUS,
     RFC "§4.2.1"},
    {{"other-upgrade", "Upgrade to another protocol is no handshake.", NULL,
      START "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEYLINE VERSION},
     ANY_STATUS,
     RFC "§4.2.1"},
    {{"upgrade-prefix", "\"websocket2\" is another protocol.",
      "Compare the whole value, not its beginning.",
      START "Upgrade: websocket2\r\nConnection: Upgrade\r\n" KEYLINE VERSION},
     ANY_STATUS,
     RFC "§4.2.1"},
    {{"no-connection", "Without the token Upgrade in Connection there is no 101.", NULL,
      START "Upgrade: websocket\r\n" KEYLINE VERSION},
     ANY_STATUS,
     RFC "§4.2.1"},
    {{"connection-close", "Connection without the token Upgrade is no handshake.", NULL,
      START "Upgrade: websocket\r\nConnection: close\r\n" KEYLINE VERSION},
     ANY_STATUS,
     RFC "§4.2.1"},
    {{"connection-prefix", "\"Upgraded\" is another token.", NULL,
      START "Upgrade: websocket\r\nConnection: Upgraded\r\n" KEYLINE VERSION},
     ANY_STATUS,
     RFC "§4.2.1"},
    {{"no-key", "A handshake without Sec-WebSocket-Key gets an error.", NULL,
      START UPGRADE VERSION},
     0,
     RFC "§4.2.1"},
    {{"empty-key", "An empty key is no 16 bytes.", NULL,
      START UPGRADE "Sec-WebSocket-Key:\r\n" VERSION},
     0,
     RFC "§4.2.1"},
    {{"key-of-15-bytes", "The key decodes to 16 bytes.", "Decode it; its length alone says little.",
      START UPGRADE "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4P\r\n" VERSION},
     0,
     RFC "§4.2.1"},
    {{"key-of-17-bytes", "The key decodes to 16 bytes.", NULL,
      START UPGRADE "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEBE=\r\n" VERSION},
     0,
     RFC "§4.2.1"},
    {{"key-without-padding", "The key is base64 of 16 bytes, with its padding.", NULL,
      START UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n" VERSION},
     0,
     RFC "§4.2.1"},
    {{"key-not-base64", "The key is base64.", NULL,
      START UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBs*SBub25jZQ==\r\n" VERSION},
     0,
     RFC "§4.2.1"},
    {{"two-keys", "Sec-WebSocket-Key must not appear more than once.", NULL,
      START UPGRADE KEYLINE "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n" VERSION},
     0,
     RFC "§11.3.1"},
    {{"post", "The method of a handshake is GET.", NULL,
      "POST %1$s HTTP/1.1\r\nHost: %2$s\r\nContent-Length: 0\r\n" UPGRADE KEYLINE VERSION},
     ANY_STATUS,
     RFC "§4.2.1"},
    {{"put", "The method of a handshake is GET.", NULL,
      "PUT %1$s HTTP/1.1\r\nHost: %2$s\r\nContent-Length: 0\r\n" UPGRADE KEYLINE VERSION},
     ANY_STATUS,
     RFC "§4.2.1"},
    {{"delete", "The method of a handshake is GET.", NULL,
      "DELETE %1$s HTTP/1.1\r\nHost: %2$s\r\n" UPGRADE KEYLINE VERSION},
     ANY_STATUS,
     RFC "§4.2.1"},
    {{"method-in-lower-case", "Methods are compared with regard to case: \"get\" is not GET.", NULL,
      "get %1$s HTTP/1.1\r\nHost: %2$s\r\n" UPGRADE KEYLINE VERSION},
     0,
     RFC "§4.2.1"},
    {{"http-1.0", "The handshake needs HTTP/1.1 or higher.", NULL,
      "GET %1$s HTTP/1.0\r\nHost: %2$s\r\n" UPGRADE KEYLINE VERSION},
     ANY_STATUS,
     RFC "§4.2.1"},
    {{"no-host", "The handshake needs Host.", NULL,
      "GET %1$s HTTP/1.1\r\n" UPGRADE KEYLINE VERSION},
     0,
     RFC "§4.2.1"},
    {{"no-version", "The handshake needs Sec-WebSocket-Version.", NULL, START UPGRADE KEYLINE},
     0,
     RFC "§4.2.1"},
    {{"two-versions", "Sec-WebSocket-Version must not appear more than once in a request.", NULL,
      START UPGRADE KEYLINE VERSION "Sec-WebSocket-Version: 8\r\n"},
     0,
     RFC "§11.3.5"},
};

static void build_refused(struct script *s, const struct check_case *c)
{
    const struct form *form = c->p;

    send_head(s, form->head);
    expect_status(s, c->a == ANY_STATUS ? 200 : 400, 599);
}

static void build_version(struct script *s, const struct check_case *c)
{
    send_line(s,
              "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: %s\r\n",
              s->path, s->host, (const char *)c->p);
    expect_status(s, 400, 499);
    expect_header(s, "Sec-WebSocket-Version", MATCH_HAS_TOKEN, "13");
}

static void build_426(struct script *s, const struct check_case *c)
{
    (void)c;
    send_line(s,
              "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 12\r\n",
              s->path, s->host);
    expect_status(s, 426, 426)->should = true;
}

static void add_refused(struct suite *suite)
{
    static const char *const versions[] = {"0",   "8",   "12",  "14",   "130",
                                           "1 3", "-13", "013", "13.0", "thirteen"};
    struct check_case like = {.level = LEVEL_HANDSHAKE};

    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        like.section = refused[i].section;
        like.demand = refused[i].form.demand;
        like.hint = refused[i].form.hint;
        like.build = build_refused;
        like.a = refused[i].flags;
        like.p = &refused[i].form;
        suite_add(suite, &like, "handshake/refuse/%s", refused[i].form.name);
    }
    like.section = RFC "§4.2.2";
    like.demand =
        "A version that the server does not speak gets an error, with the versions that it "
        "does speak in Sec-WebSocket-Version.";
    like.hint = NULL;
    like.build = build_version;
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        like.p = versions[i];
        suite_add(suite, &like, "handshake/version/%zu", i + 1);
    }
    like.section = RFC "§4.4";
    like.demand = "The error for a version that the server does not speak is 426 Upgrade Required.";
    like.build = build_426;
    suite_add(suite, &like, "handshake/version/426");
}

void add_handshake_cases(struct suite *suite)
{
    add_answers(suite);
    add_keys(suite);
    add_legal(suite);
    add_refused(suite);
}
