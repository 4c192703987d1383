/* SPDX-License-Identifier: MIT
 *
 * How fast are the pure parts alone? Each is run long enough for the clock, five times, and the
 * fastest run counts: disturbances only make a run slower. GB/s is 10^9 bytes; a cycle is one of
 * the time stamp counter (x86 only), which counts at the nominal frequency, not at the current
 * one. */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base64.h"
#include "http_upgrade.h"
#include "sha1.h"
#include "stream.h"
#include "utf8.h"
#include "ws_frame.h"
#include "ws_message.h"

#if defined(__x86_64__)
#include <x86intrin.h>
static uint64_t cycles(void)
{
    return __rdtsc();
}
#else
static uint64_t cycles(void)
{
    return 0;
}
#endif

enum { TRIES = 5, TRY_NS = 30000000 };

/* One thing to measure: `run` does it once, on `size` bytes of `data`. */
struct subject {
    const char *name;
    uint64_t (*run)(struct subject *s); /* returns any value, so that the compiler cannot remove
                                           the work */
    size_t size;
    bool per_operation; /* show ns per operation, not GB/s */
    uint8_t *data;
    uint64_t sum;
};

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- the subjects ----------------------------------------------------------------------------- */

static uint64_t run_unmask(struct subject *s)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};

    ws_frame_unmask(s->data, s->size, mask, 0);
    return s->data[0];
}

static uint64_t run_utf8(struct subject *s)
{
    struct utf8 u = {0};

    if (!utf8_feed(&u, s->data, s->size) || !utf8_complete(&u))
        errx(EXIT_FAILURE, "%s: not UTF-8?", s->name);
    return u.state;
}

static uint64_t run_utf8_bytes(struct subject *s)
{
    struct utf8 u = {0};

    if (!utf8_feed_bytes(&u, s->data, s->size) || !utf8_complete(&u))
        errx(EXIT_FAILURE, "%s: not UTF-8?", s->name);
    return u.state;
}

/* What is done with a text. The mask is all zero, so that the text is the same in the next run. */
static uint64_t run_text(struct subject *s)
{
    static const struct ws_frame f = {.opcode = WS_OP_TEXT, .fin = true};
    struct ws_message m = {.state = MESSAGE_TEXT};

    if (ws_message_unmask(&m, &f, s->data, s->size, 0) != 0)
        errx(EXIT_FAILURE, "%s: refused?", s->name);
    return m.utf8.state;
}

static uint64_t run_decode(struct subject *s)
{
    struct ws_frame f;

    if (ws_frame_decode(&f, s->data, WS_FRAME_HEADER_MAX, 0) <= 0)
        errx(EXIT_FAILURE, "%s: not a frame?", s->name);
    return f.len + f.mask[0];
}

static uint64_t run_encode(struct subject *s)
{
    return ws_frame_encode(s->data, WS_OP_TEXT, s->size);
}

static uint64_t run_sha1(struct subject *s)
{
    uint8_t digest[SHA1_SIZE];

    sha1(digest, s->data, s->size);
    return digest[0];
}

static uint64_t run_base64_encode(struct subject *s)
{
    char text[64];

    base64_encode(text, s->data, s->size);
    return (uint64_t)text[0];
}

static uint64_t run_base64_decode(struct subject *s)
{
    uint8_t bytes[64];

    return (uint64_t)base64_decode(bytes, (const char *)s->data, s->size) + bytes[0];
}

/* All of a handshake except the sockets: find the head, parse it, check it, write the 101. */
static uint64_t run_handshake(struct subject *s)
{
    static const struct http_upgrade_policy policy;
    struct http_scan scan = {0};
    struct http_request request;
    struct http_upgrade upgrade;
    struct http_writer writer;
    char head[512];
    const char *why;
    int len = http_head_scan(&scan, (const char *)s->data, s->size);

    if (len <= 0 || http_request_parse(&request, (const char *)s->data, (size_t)len, &why) != 0 ||
        http_upgrade_check(&request, &policy, &upgrade) != 101)
        errx(EXIT_FAILURE, "%s: refused?", s->name);
    http_writer_init(&writer, head, sizeof head, 101);
    http_writer_field(&writer, ws_str("Upgrade"), ws_str("websocket"));
    http_writer_field(&writer, ws_str("Connection"), ws_str("Upgrade"));
    http_writer_field(&writer, ws_str("Sec-WebSocket-Accept"),
                      (struct ws_str){upgrade.accept, sizeof upgrade.accept});
    return (uint64_t)http_writer_end(&writer);
}

/* --- measuring -------------------------------------------------------------------------------- */

struct figures {
    double ns; /* of one operation */
    double cycles;
};

static uint64_t run_many(struct subject *s, uint64_t count)
{
    uint64_t start_ns = now_ns();

    for (uint64_t i = 0; i < count; i++)
        s->sum += s->run(s);
    return now_ns() - start_ns;
}

static struct figures measure(struct subject *s)
{
    struct figures best = {.ns = 1e18, .cycles = 1e18};
    uint64_t count = 1;

    while (run_many(s, count) < TRY_NS / 4)
        count *= 2;
    count *= 4;
    for (int i = 0; i < TRIES; i++) {
        uint64_t start = cycles();
        double ns = (double)run_many(s, count) / (double)count;
        double ticks = (double)(cycles() - start) / (double)count;

        best.ns = ns < best.ns ? ns : best.ns;
        best.cycles = ticks < best.cycles ? ticks : best.cycles;
    }
    return best;
}

static void show(struct subject *s)
{
    struct figures f = measure(s);
    double bytes = (double)s->size;

    printf("%-34s", s->name);
    if (s->per_operation)
        printf(" %10.1f ns %8.2f M/s", f.ns, 1e3 / f.ns);
    else
        printf(" %8.2f GB/s", bytes / f.ns);
    if (f.cycles > 0 && s->per_operation)
        printf(" %10.0f cycles", f.cycles);
    else if (f.cycles > 0)
        printf(" %8.2f bytes/cycle", bytes / f.cycles);
    putchar('\n');
    fflush(stdout);
}

static uint8_t *bytes_of(size_t len, enum stream_kind kind)
{
    uint64_t random = 1;
    uint8_t *data = malloc(len < 64 ? 64 : len);

    if (data == NULL)
        err(EXIT_FAILURE, "malloc");
    stream_payload(data, len, kind, &random);
    return data;
}

static void show_bytes(const char *name, uint64_t (*run)(struct subject *), size_t size,
                       enum stream_kind kind)
{
    struct subject s = {.name = name, .run = run, .size = size, .data = bytes_of(size, kind)};

    show(&s);
    free(s.data);
}

/* ASCII but for one character in 32 KiB. */
static void show_nearly_ascii(const char *name, size_t size)
{
    struct subject s = {.name = name, .run = run_text, .size = size};

    s.data = bytes_of(size, STREAM_ASCII);
    for (size_t i = 0; i + 2 <= size; i += 32 << 10)
        memcpy(s.data + i, "\xc3\xa4", 2);
    show(&s);
    free(s.data);
}

static void show_operation(const char *name, uint64_t (*run)(struct subject *), const void *data,
                           size_t size)
{
    struct subject s = {.name = name, .run = run, .size = size, .per_operation = true};

    s.data = bytes_of(size, STREAM_BINARY);
    if (data != NULL)
        memcpy(s.data, data, size);
    show(&s);
    free(s.data);
}

static void show_frames(void)
{
    uint8_t frame[STREAM_HEADER_MAX + 70000] = {0};
    static const uint8_t payload[70000];

    stream_frame(frame, WS_OP_BINARY, payload, 64, 0x3d21fa37);
    show_operation("frame decode, 64 B", run_decode, frame, WS_FRAME_HEADER_MAX);
    stream_frame(frame, WS_OP_BINARY, payload, 1000, 0x3d21fa37);
    show_operation("frame decode, 1000 B", run_decode, frame, WS_FRAME_HEADER_MAX);
    stream_frame(frame, WS_OP_BINARY, payload, 70000, 0x3d21fa37);
    show_operation("frame decode, 70,000 B", run_decode, frame, WS_FRAME_HEADER_MAX);
    show_operation("frame encode, 64 B", run_encode, NULL, 64);
    show_operation("frame encode, 1000 B", run_encode, NULL, 1000);
    show_operation("frame encode, 70,000 B", run_encode, NULL, 70000);
}

static void show_handshake(void)
{
    static const char browser[] =
        "GET /room HTTP/1.1\r\n"
        "Host: localhost:8080\r\n"
        "Connection: Upgrade\r\n"
        "Pragma: no-cache\r\n"
        "Cache-Control: no-cache\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n"
        "Upgrade: websocket\r\n"
        "Origin: http://localhost:8080\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Accept-Encoding: gzip, deflate, br, zstd\r\n"
        "Accept-Language: en-US,en;q=0.9\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    static const char short_one[] = "GET / HTTP/1.1\r\n"
                                    "Host: localhost:8080\r\n"
                                    "Connection: Upgrade\r\n"
                                    "Upgrade: websocket\r\n"
                                    "Sec-WebSocket-Version: 13\r\n"
                                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    show_operation("handshake, of a browser", run_handshake, browser, sizeof browser - 1);
    show_operation("handshake, the shortest", run_handshake, short_one, sizeof short_one - 1);
}

int main(void)
{
    show_bytes("unmask, 16 B", run_unmask, 16, STREAM_BINARY);
    show_bytes("unmask, 64 B", run_unmask, 64, STREAM_BINARY);
    show_bytes("unmask, 16 KiB", run_unmask, 16 << 10, STREAM_BINARY);
    show_bytes("unmask, 1 MiB", run_unmask, 1 << 20, STREAM_BINARY);
    show_bytes("UTF-8 ASCII, 64 B", run_utf8, 64, STREAM_ASCII);
    show_bytes("UTF-8 ASCII, 16 KiB", run_utf8, 16 << 10, STREAM_ASCII);
    show_bytes("UTF-8 ASCII, 1 MiB", run_utf8, 1 << 20, STREAM_ASCII);
    show_bytes("UTF-8 Chinese, 64 B", run_utf8, 64, STREAM_CHINESE);
    show_bytes("UTF-8 Chinese, 16 KiB", run_utf8, 16 << 10, STREAM_CHINESE);
    show_bytes("UTF-8 Chinese, 1 MiB", run_utf8, 1 << 20, STREAM_CHINESE);
    show_bytes("UTF-8 mixed, 16 KiB", run_utf8, 16 << 10, STREAM_MIXED);
    show_bytes("UTF-8 mixed, byte by byte, 16 KiB", run_utf8_bytes, 16 << 10, STREAM_MIXED);
    show_bytes("a text: ASCII, 64 B", run_text, 64, STREAM_ASCII);
    show_bytes("a text: ASCII, 1 MiB", run_text, 1 << 20, STREAM_ASCII);
    show_nearly_ascii("a text: nearly ASCII, 1 MiB", 1 << 20);
    show_bytes("a text: Chinese, 1 MiB", run_text, 1 << 20, STREAM_CHINESE);
    show_frames();
    show_bytes("SHA-1, 16 KiB", run_sha1, 16 << 10, STREAM_BINARY);
    show_operation("SHA-1 of a handshake, 60 B", run_sha1, NULL, 60);
    show_operation("base64 of a digest, 20 B", run_base64_encode, NULL, 20);
    show_operation("base64 of a key, decoded", run_base64_decode, "dGhlIHNhbXBsZSBub25jZQ==", 24);
    show_handshake();
    return EXIT_SUCCESS;
}
