/* See usert_sender.h. */
#define _POSIX_C_SOURCE 200809L
#include "usert_sender.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>
#ifdef _WIN32
#include <windows.h>
#endif

enum {
    QUEUE_FRAMES = 2, LINGER_MS = 1000,
    SUBSCRIPTION = 1024, /* bytes */
    SUBSCRIPTIONS_A_FRAME = 16, MOST_CHARACTERS = 256,
    TEXT = 12 * MOST_CHARACTERS + 3, /* of a name in JSON: \ud83d\ude00 is the longest character */
    KEY = 41,
    NUMBER = 32, HEADER = 2 * TEXT + 1024
};
static const int64_t SILENT_NS = 3000000000; /* a connection that was refused is not tried again by ZeroMQ: we do */
static const char BEGINNING[] = "{\"usert\":1,\"kind\":\"rf\"";

struct usert_sender {
    void *context, *socket;
    char endpoint[256];
    int connect, keyed;
    char public_key[KEY], secret_key[KEY], server_key[KEY];
    char stream[TEXT], clock[TEXT]; /* in JSON */
    int receivers;                  /* subscriptions to the frames */
    int64_t heard_ns, sequence;
    uint64_t sent, dropped;
    char error[USERT_ERROR];
};

static int fail(char *error, const char *what, const char *why) {
    snprintf(error, USERT_ERROR, "%.120s: %.120s", what, why);
    return -1;
}

#ifdef _WIN32
int64_t usert_now_ns(void) {
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (int64_t)((double)ticks.QuadPart / (double)frequency.QuadPart * 1e9);
}
static int64_t wall_ns(void) {
    FILETIME now; /* 100 ns since 1601 */
    GetSystemTimeAsFileTime(&now);
    return (((int64_t)now.dwHighDateTime << 32 | now.dwLowDateTime) - INT64_C(116444736000000000)) * 100;
}
#else
static int64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}
int64_t usert_now_ns(void) { return read_clock(CLOCK_MONOTONIC); }
static int64_t wall_ns(void) { return read_clock(CLOCK_REALTIME); }
#endif

/* The next character of *text, which is moved behind it; 0 where it is none that a header may hold. */
static uint32_t next_character(const unsigned char **text) {
    static const uint32_t least[] = {0x20, 0xa0, 0x800, 0x10000};
    const unsigned char *at = *text;
    int more = *at < 0x80 ? 0 : *at >> 5 == 6 ? 1 : *at >> 4 == 14 ? 2 : *at >> 3 == 30 ? 3 : -1;
    uint32_t code = more > 0 ? *at & (0x3fu >> more) : *at;
    for (int k = 0; k < more; k++) {
        if ((*++at & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (*at & 0x3fu);
    }
    *text = at + 1;
    if (more < 0 || code < least[more] || code > 0x10ffff || code == 0x7f || code == 0x2028 || code == 0x2029)
        return 0;
    return code >= 0xd800 && code < 0xe000 ? 0 : code;
}

/* UTF-8 as a string of JSON in ASCII. */
static int put_text(char to[TEXT], const char *utf8, const char *what, char *error) {
    const unsigned char *from = (const unsigned char *)utf8;
    int characters = 0;
    *to++ = '"';
    while (*from) {
        uint32_t code = next_character(&from);
        if (code == 0 || ++characters > MOST_CHARACTERS)
            return fail(error, what, "expected UTF-8 of at most 256 characters, no control characters");
        if (code == '"' || code == '\\')
            to += sprintf(to, "\\%c", (char)code);
        else if (code < 0x7f)
            *to++ = (char)code;
        else if (code < 0x10000)
            to += sprintf(to, "\\u%04x", code);
        else
            to += sprintf(to, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
    }
    strcpy(to, "\"");
    return 0;
}

/* The shortest number that reads back as `value`, whatever the locale. */
static void json_number(char to[NUMBER], double value) {
    int digits = 0, exponent;
    do
        snprintf(to, NUMBER, "%.*e", digits, value);
    while (strtod(to, NULL) != value && ++digits < 17);
    exponent = atoi(strchr(to, 'e') + 1);
    if (exponent >= -4 && exponent < 16)
        snprintf(to, NUMBER, "%.*f", digits - exponent > 1 ? digits - exponent : 1, value);
    for (char *at = to; *at; at++)
        if (strchr("0123456789+-e", *at) == NULL)
            *at = '.';
}

/* The key after `name` in a file of `usert keys make`. */
static int read_key(char key[KEY], const char *path, const char *name, char *error) {
    char text[16384] = "", *found;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return fail(error, path, strerror(errno));
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    found = strstr(text, name);
    if (found == NULL || strcspn(found += strlen(name), "\"") != KEY - 1)
        return fail(error, path, "expected your NAME.key_secret, and NAME.key of the server, of `usert keys make`");
    memcpy(key, found, KEY - 1);
    return 0;
}

static int put_clock(char to[TEXT], const char *name, char *error) {
    char text[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r"); /* one clock for all processes of this boot */
    snprintf(text, sizeof text, "%" PRIx64 "-%p", wall_ns(), (void *)to);
    if (file != NULL) {
        text[fread(text, 1, 36, file)] = 0;
        fclose(file);
    }
    return put_text(to, name ? name : text, "clock", error);
}

static int is_local(const char *endpoint) {
    if (strchr(endpoint, ';') != NULL) return 0; /* source;destination */
    return strncmp(endpoint, "ipc://", 6) == 0 || strncmp(endpoint, "tcp://localhost:", 16) == 0 ||
           strncmp(endpoint, "tcp://[::1]:", 12) == 0 ||
           (strncmp(endpoint, "tcp://127.", 10) == 0 && endpoint[6 + strspn(endpoint + 6, "0123456789.")] == ':');
}

static int set_option(void *socket, int option, int value) {
    return zmq_setsockopt(socket, option, &value, sizeof value);
}
static int open_socket(usert_sender *s) {
    const int64_t most = SUBSCRIPTION;
    void *socket = s->socket = zmq_socket(s->context, ZMQ_XPUB); /* PUB that also says who subscribes */
    int bad = socket == NULL || set_option(socket, ZMQ_SNDHWM, QUEUE_FRAMES) ||
              set_option(socket, ZMQ_LINGER, LINGER_MS) || set_option(socket, ZMQ_IMMEDIATE, 1) ||
              set_option(socket, ZMQ_XPUB_VERBOSER, 1) || set_option(socket, ZMQ_XPUB_NODROP, 1) ||
              set_option(socket, ZMQ_IPV6, strchr(s->endpoint, '[') != NULL) ||
              zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    if (!bad && s->keyed)
        bad = zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, s->public_key, KEY) ||
              zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, s->secret_key, KEY) ||
              zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, s->server_key, KEY);
    if (!bad)
        bad = (s->connect ? zmq_connect : zmq_bind)(socket, s->endpoint);
    s->receivers = 0;
    s->heard_ns = usert_now_ns();
    return bad ? fail(s->error, s->endpoint, zmq_strerror(zmq_errno())) : 0;
}

static int set_up(usert_sender *s, const usert_options *options) {
    if (options->endpoint == NULL || options->stream == NULL || strlen(options->endpoint) >= sizeof s->endpoint)
        return fail(s->error, "options", "expected endpoint and stream");
    strcpy(s->endpoint, options->endpoint);
    s->connect = options->connect;
    s->keyed = options->key != NULL || options->server_key != NULL;
    if (s->keyed && !(options->key && options->server_key && options->connect))
        return fail(s->error, "keys", "expected key, server_key and connect, for it is the server that checks keys");
    if (!s->keyed && !options->insecure && !is_local(s->endpoint))
        return fail(s->error, s->endpoint, "other machines can reach it: give keys, or insecure on your own network");
    if (put_text(s->stream, options->stream, "stream", s->error) || put_clock(s->clock, options->clock, s->error))
        return -1;
    if (s->keyed && (read_key(s->public_key, options->key, "public-key = \"", s->error) ||
                     read_key(s->secret_key, options->key, "secret-key = \"", s->error) ||
                     read_key(s->server_key, options->server_key, "public-key = \"", s->error)))
        return -1;
    s->context = zmq_ctx_new();
    return open_socket(s);
}

usert_sender *usert_sender_open(const usert_options *options, char error[USERT_ERROR]) {
    usert_sender *s = calloc(1, sizeof *s);
    if (s != NULL && set_up(s, options) == 0)
        return s;
    memcpy(error, s ? s->error : "no memory", s ? USERT_ERROR : 10);
    usert_sender_close(s);
    return NULL;
}

void usert_sender_close(usert_sender *s) {
    if (s == NULL)
        return;
    zmq_close(s->socket); /* these take NULL, too */
    zmq_ctx_term(s->context);
    free(s);
}

/* Read subscriptions, only a few at a time, so that sending goes on whoever sends them. */
static void count_receivers(usert_sender *s) {
    char text[SUBSCRIPTION];
    int size, before = s->receivers;
    for (int k = 0; k < SUBSCRIPTIONS_A_FRAME && (size = zmq_recv(s->socket, text, sizeof text, ZMQ_DONTWAIT)) >= 0;
         k++)
        if (size > 0 && size <= (int)sizeof BEGINNING && (text[0] & ~1) == 0 &&
            memcmp(text + 1, BEGINNING, size - 1) == 0)
            s->receivers += text[0] ? 1 : -1;
    /* ZeroMQ refuses a frame for a single receiver that is slow; of several none may hold the others up. */
    if (s->receivers != before)
        set_option(s->socket, ZMQ_XPUB_NODROP, s->receivers <= 1);
    if (s->receivers > 0)
        s->heard_ns = usert_now_ns();
    else if (s->connect && usert_now_ns() - s->heard_ns > SILENT_NS) {
        set_option(s->socket, ZMQ_LINGER, 0);
        zmq_close(s->socket);
        open_socket(s);
    }
}

int usert_sender_wait(usert_sender *s, int timeout_ms) {
    const int64_t end_ns = usert_now_ns() + timeout_ms * INT64_C(1000000);
    for (;;) {
        count_receivers(s);
        if (s->receivers > 0)
            return 1;
        zmq_pollitem_t item = {.socket = s->socket, .events = ZMQ_POLLIN}; /* NULL after a failed reopening: sleep */
        if (usert_now_ns() >= end_ns || zmq_poll(&item, s->socket != NULL, timeout_ms < 100 ? timeout_ms : 100) < 0)
            return 0;
    }
}

/* The header of a frame; its length, or -1. */
static int put_header(char header[HEADER], usert_sender *s, const usert_frame *frame, int64_t sequence, int64_t time_ns,
                      int64_t acquired_ns) {
    const usert_scan *scan = &frame->scan;
    const int iq = scan->demodulation_hz != 0, curved = scan->line_angle_deg != 0;
    const char *const names[] = {"fs_hz",           "f0_hz",     "sound_speed_m_s", "line_pitch_mm",
                                 "demodulation_hz", "radius_mm", "line_angle_deg",  "first_depth_mm"};
    const double values[] = {scan->fs_hz,           scan->f0_hz,     scan->sound_speed_m_s, scan->line_pitch_mm,
                             scan->demodulation_hz, scan->radius_mm, scan->line_angle_deg,  scan->first_depth_mm};
    const int stated[] = {1, 1, 1, 1, iq, curved, curved, scan->first_depth_mm != 0};
    char number[NUMBER];
    int length;
    if (frame->samples == NULL || frame->rows < 1 || frame->rows > 32768 || frame->lines < 1 || frame->lines > 4096 ||
        frame->rows > (1 << 24) / frame->lines)
        return fail(s->error, "frame", "expected samples, rows 1 to 32768, lines 1 to 4096, rows x lines at most 2^24");
    if (sequence < 0 || time_ns < 0 || acquired_ns < 0)
        return fail(s->error, "frame", "expected a sequence and times of 0 or more");
    if (scan->radius_mm != 0 && !curved)
        return fail(s->error, "radius_mm", "expected line_angle_deg with it");
    length = snprintf(header, HEADER,
                      "%s,\"stream\":%s,\"sequence\":%" PRId64 ",\"time_ns\":%" PRId64 ",\"acquired_ns\":%" PRId64
                      ",\"clock\":%s,\"dtype\":\"%s\",\"shape\":[%d,%d%s],\"byte_order\":\"little\"",
                      BEGINNING, s->stream, sequence, time_ns, acquired_ns, s->clock,
                      frame->type == USERT_INT16 ? "int16" : "float32", frame->rows, frame->lines, iq ? ",2" : "");
    for (int k = 0; k < 8; k++) {
        if (!isfinite(values[k]) || values[k] < 0 || (k < 4 && values[k] == 0))
            return fail(s->error, names[k], "expected a finite number above 0");
        json_number(number, values[k]);
        if (stated[k])
            length += snprintf(header + length, HEADER - length, ",\"%s\":%s", names[k], number);
    }
    return length + snprintf(header + length, HEADER - length, "}");
}

int usert_send_stamped(usert_sender *s, const usert_frame *frame, int64_t sequence, int64_t time_ns,
                       int64_t acquired_ns) {
    char header[HEADER];
    const size_t bytes = (frame->type == USERT_INT16 ? 2 : 4) * (frame->scan.demodulation_hz != 0 ? 2 : 1);
    int taken, length = put_header(header, s, frame, sequence, time_ns, acquired_ns);
    if (length < 0)
        return -1;
    s->sequence = (int64_t)((uint64_t)sequence + 1);
    count_receivers(s);
    taken = s->receivers > 0 && zmq_send(s->socket, header, length, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0 &&
            zmq_send(s->socket, frame->samples, bytes * frame->rows * frame->lines, ZMQ_DONTWAIT) >= 0;
    *(taken ? &s->sent : &s->dropped) += 1;
    return taken;
}

int usert_send(usert_sender *s, const usert_frame *frame) {
    return usert_send_stamped(s, frame, s->sequence, usert_now_ns(), wall_ns());
}

uint64_t usert_sender_sent(const usert_sender *s) { return s->sent; }
uint64_t usert_sender_dropped(const usert_sender *s) { return s->dropped; }
const char *usert_sender_error(const usert_sender *s) { return s->error; }
