/* SPDX-License-Identifier: MIT
 *
 * The packets of Socket.IO, protocol 5, as text:
 *
 *     packet = type [ attachments "-" ] [ namespace "," ] [ id ] [ JSON ]
 *
 * Binary values stand in the JSON as {"_placeholder":true,"num":i}; the i-th attachment follows as
 * the i-th binary message behind the packet. No I/O: messages come in as slices and go out as
 * text. */
#ifndef SIO_PACKET_H
#define SIO_PACKET_H

#include "json.h"

enum {
    SIO_ATTACHMENTS_MAX = 10, /* of one packet; clients enforce the same limit */
    SIO_BINARY_MAX = 256,     /* binary values of one packet in MessagePack, which has no limit */
    SIO_NAME_MAX = 1024       /* bytes of a namespace, of a room, and of an event as JSON */
};

enum sio_type {
    SIO_CONNECT,
    SIO_DISCONNECT,
    SIO_EVENT,
    SIO_ACK,
    SIO_CONNECT_ERROR,
    SIO_BINARY_EVENT,
    SIO_BINARY_ACK
};

/* Why a packet is refused; all are below 0. */
enum sio_packet_error {
    SIO_BAD_TYPE = -1,
    SIO_BAD_ATTACHMENTS = -2, /* their number is missing, 0, over the limit, or no number */
    SIO_BAD_NAMESPACE = -3,   /* too long, or with control characters */
    SIO_BAD_ID = -4,          /* over 2^53 - 1 */
    SIO_BAD_JSON = -5,        /* not one valid value up to the end */
    SIO_BAD_PAYLOAD = -6,     /* not what the type asks for, or a reserved event */
    SIO_BAD_PLACEHOLDER = -7, /* names no attachment of the packet */
    SIO_BAD_ORDER = -8,       /* text while attachments are due, or binary while none are */
    SIO_TOO_LARGE = -9,
    SIO_PACKET_NOMEM = -10
};

enum { SIO_NO_ID = -1 };
#define SIO_ID_MAX ((INT64_C(1) << 53) - 1) /* numbers of JavaScript are exact up to it */

struct sio_packet {
    enum sio_type type;
    unsigned attachments; /* how many binary messages follow */
    struct ws_str nsp;    /* "/" when the packet names none */
    int64_t id;           /* of the acknowledgement that is wanted or given, or SIO_NO_ID */
    struct ws_str json;   /* the payload, valid for its type; data is NULL when there is none */
};

/* Read one packet; its slices point into `text`. Returns 0 or a sio_packet_error. An event without
 * any payload is accepted, since the reference ignores it. */
int sio_packet_decode(struct sio_packet *p, struct ws_str text);

/* Write a packet up to its JSON; the caller appends the JSON. */
void sio_packet_begin(struct json_writer *w, enum sio_type type, unsigned attachments,
                      struct ws_str nsp, int64_t id);

/* Is the payload what the type asks for? */
bool sio_payload_fits(const struct sio_packet *p);

/* May a client ask for a namespace of this name? */
bool sio_namespace_is_legal(struct ws_str name);

/* Is it a reserved event name (as JSON), such as "connect"? */
bool sio_name_is_reserved(struct ws_str name);

/* The number of the attachment for which a value is the placeholder, or -1 when it is none. */
int sio_placeholder(struct ws_str value);

/* Does every placeholder in a list of values, however deep, name one of `attachments`? */
bool sio_placeholders_fit(struct ws_str list, unsigned attachments);

/* --- attachments ------------------------------------------------------------------------------ */

/* A packet that waits for its attachments. The packet and the attachments that have come are stored
 * one after the other in one allocation of exactly `len` bytes. It grows with what has come, never
 * with what was announced. All zero is empty. */
struct sio_assembly {
    char *data; /* owned, counted in the account that is passed to all calls */
    size_t len;
    size_t ends[SIO_ATTACHMENTS_MAX + 1]; /* of the packet and each attachment */
    unsigned have;                        /* attachments that have come */
    unsigned want;
};

/* Start with the text of a packet that has attachments; it is copied. Returns 0 or
 * SIO_PACKET_NOMEM. */
int sio_assembly_begin(struct sio_assembly *a, struct ws_account *account, struct ws_str text,
                       unsigned attachments);

/* Add the next attachment. Returns 1 when it was the last one, 0 when more are due, or
 * SIO_PACKET_NOMEM with nothing changed. */
int sio_assembly_add(struct sio_assembly *a, struct ws_account *account, const void *data,
                     size_t len);

struct ws_str sio_assembly_text(const struct sio_assembly *a);
struct ws_str sio_assembly_attachment(const struct sio_assembly *a, unsigned index);
void sio_assembly_release(struct sio_assembly *a, struct ws_account *account);

#endif
