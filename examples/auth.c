/* SPDX-License-Identifier: MIT
 *
 * Authentication: on_upgrade sees the request before the WebSocket is open, and refuses it with 401
 * if it has no token, neither in a header nor in the query.
 *
 *     ./build/examples/auth 8080
 *     new WebSocket("ws://127.0.0.1:8080/?token=sesame")                         in a browser
 *     npx wscat -H "Authorization: Bearer sesame" -c ws://127.0.0.1:8080/        elsewhere
 *
 * A page in a browser cannot add a header to a WebSocket, and addresses are often written to logs.
 * So give out short-lived tokens for the query, or use a cookie, which the check of Origin makes
 * safe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ws.h"

static const struct user {
    const char *token;
    const char *name;
} users[] = {{"sesame", "Ali Baba"}, {"rumpelstiltskin", "the queen"}};

/* The token of `Authorization: Bearer token`, or no text. The case of the scheme is ignored, and
 * one or more spaces follow it. RFC 9110 §11.1, §11.4 */
static struct ws_str bearer_token(struct ws_str value)
{
    static const char scheme[] = "Bearer";
    size_t at = sizeof scheme - 1;

    if (value.len <= at || strncasecmp(value.data, scheme, at) != 0 || value.data[at] != ' ')
        return (struct ws_str){NULL, 0};
    while (at < value.len && value.data[at] == ' ')
        at++;
    return (struct ws_str){value.data + at, value.len - at};
}

/* The time does not depend on which byte differs, so that a token cannot be guessed byte by
 * byte. */
static bool same_secret(struct ws_str given, const char *secret)
{
    unsigned char difference = 0;

    if (given.len != strlen(secret))
        return false;
    for (size_t i = 0; i < given.len; i++)
        difference |= (unsigned char)(given.data[i] ^ secret[i]);
    return difference == 0;
}

static const struct user *find_user(const struct ws_request *req)
{
    struct ws_str token = bearer_token(ws_request_header(req, "Authorization"));

    if (token.data == NULL)
        token = ws_request_query_value(req, "token");
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        if (same_secret(token, users[i].token))
            return &users[i];
    }
    return NULL;
}

static void on_upgrade(struct ws_conn *c, const struct ws_request *req)
{
    static const char body[] = "a token is required\n";
    const struct ws_header challenge = {ws_str("WWW-Authenticate"), ws_str("Bearer")};
    const struct user *user = find_user(req);

    if (user == NULL)
        ws_respond(c, 401, &challenge, 1, body, sizeof body - 1);
    else
        ws_set_data(c, (void *)user); /* without a response the connection is accepted */
}

static void on_open(struct ws_conn *c, const struct ws_request *req)
{
    const struct user *user = ws_data(c);
    char text[64];
    int len = snprintf(text, sizeof text, "Welcome, %s.", user->name);

    (void)req;
    ws_send(c, WS_OP_TEXT, text, (size_t)len);
}

int main(int argc, char **argv)
{
    struct ws_options options = {.port = argc > 1 ? (uint16_t)atoi(argv[1]) : 8080};
    struct ws_handlers handlers = {.on_upgrade = on_upgrade, .on_open = on_open};
    struct ws_server *s = ws_server_new(&options);

    if (s == NULL || ws_server_handle(s, "/", &handlers) != 0) {
        perror("auth");
        return 1;
    }
    return ws_server_run(s) != 0;
}
