/* SPDX-License-Identifier: MIT
 *
 * The HTTP side of Engine.IO: parses the query of a request, writes the responses with their
 * headers, CORS (the Fetch standard) and cookie included. It does not know sessions; engineio.c
 * decides. */
#ifndef SOCKETIO_EIO_HTTP_H
#define SOCKETIO_EIO_HTTP_H

#include "engineio.h"

enum eio_method { EIO_GET, EIO_POST, EIO_OPTIONS, EIO_OTHER_METHOD };

/* The query of a request as far as Engine.IO reads it. */
struct eio_request {
    enum eio_method method;
    unsigned transport; /* of enum eio_transport; 0: none that we know */
    bool protocol_4;    /* EIO=4 */
    bool no_binary;     /* b64: the client takes no binary data */
    bool has_sid;
    char sid[EIO_ID_SIZE]; /* "" also for one that cannot be an id */
};

void eio_request_read(struct eio_request *r, const struct ws_request *req);

/* The message of an error, as the reference has it. */
const char *eio_error_message(enum eio_error error);

/* How many bytes of the text by which an application refuses a client are used: as many whole
 * characters as fit into EIO_REFUSAL_MAX. */
enum { EIO_REFUSAL_MAX = 256 };
size_t eio_refusal_len(const char *text);

/* Where eio_asker.origin is: in the options, in the request, or in a copy of its own. */
enum eio_origin { EIO_ORIGIN_CONSTANT, EIO_ORIGIN_REQUEST, EIO_ORIGIN_OWN };

/* The request that a response is for, with those parts of it on which the headers depend. Valid
 * until the callback with the request returns; for a later response call eio_asker_keep(). */
struct eio_asker {
    struct ws_conn *conn; /* NULL: no request */
    const char *origin;   /* for Access-Control-Allow-Origin, without a NUL; NULL: not allowed */
    uint16_t origin_len;
    uint8_t origin_in; /* enum eio_origin */
    bool old_browser;  /* wants X-XSS-Protection */
};

/* Are there CORS headers? */
bool eio_has_cors(const struct eio_options *o);

struct eio_asker eio_asker(const struct eio_options *o, struct ws_conn *c,
                           const struct ws_request *req);

/* Keep the asker valid until eio_asker_release(), which the caller calls when the request is
 * answered or abandoned. A copy of the origin counts in `account`; without memory for it the
 * response will have no Access-Control-Allow-Origin. Keeping twice is the same as once. */
void eio_asker_keep(struct eio_asker *a, struct ws_account *account);
void eio_asker_release(struct eio_asker *a, struct ws_account *account);

enum eio_body { EIO_BODY_NONE, EIO_BODY_TEXT, EIO_BODY_HTML, EIO_BODY_JSON };

/* Send a response, with one more header if `extra` is not NULL. Returns as ws_respond(). */
int eio_reply(const struct eio_options *o, const struct eio_asker *to, int status,
              enum eio_body type, const void *body, size_t len, const struct ws_header *extra);

/* The same with a body in several pieces. */
int eio_reply_pieces(const struct eio_options *o, const struct eio_asker *to, int status,
                     enum eio_body type, const struct ws_str *body, size_t pieces);

/* {"code":1,"message":"..."}; `text`, if not NULL, replaces the message of EIO_FORBIDDEN. */
int eio_reply_error(const struct eio_options *o, const struct eio_asker *to, enum eio_error error,
                    const char *text);

/* The answer to OPTIONS. */
int eio_reply_preflight(const struct eio_options *o, const struct eio_asker *to,
                        const struct ws_request *req);

/* Refuse a WebSocket's handshake. The body is the message of the error, without JSON. */
int eio_refuse_upgrade(const struct eio_options *o, const struct eio_asker *to,
                       enum eio_error error, const char *text);

/* Accept a WebSocket with the first subprotocol that it offers: a browser fails the connection if
 * the server selects none of those it offered. */
int eio_accept_upgrade(const struct eio_options *o, const struct eio_asker *to,
                       const struct ws_request *req);

#endif
