/* Sends RF or IQ frames to `usert serve`, by libzmq 4.2 or later: copy usert_sender.h and usert_sender.c into your
 * program, and link with -lzmq. The protocol is docs/protocol.md.
 *
 *     char error[USERT_ERROR];
 *     usert_options options = {.endpoint = "tcp://127.0.0.1:5555", .stream = "my-scanner"};
 *     usert_sender *sender = usert_sender_open(&options, error);            NULL: error says why
 *     usert_scan scan = {.fs_hz = 40e6, .f0_hz = 6.4e6, .sound_speed_m_s = 1540, .line_pitch_mm = 0.3};
 *     usert_frame frame = {.samples = samples, .type = USERT_INT16, .rows = 512, .lines = 128, .scan = scan};
 *     usert_send(sender, &frame);                                           each frame, as soon as it is complete
 *     usert_sender_close(sender);
 *
 * A sender belongs to one thread at a time. Samples are sent as they lie in memory: little-endian machines only. */
#ifndef USERT_SENDER_H
#define USERT_SENDER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { USERT_ERROR = 256 }; /* bytes of an error's text */
typedef enum { USERT_INT16, USERT_FLOAT32 } usert_type;

typedef struct usert_scan { /* geometry and frequencies of a frame */
    double fs_hz;           /* sampling frequency along depth; of IQ that of its complex samples */
    double f0_hz;           /* centre frequency of the pulse */
    double sound_speed_m_s;
    double line_pitch_mm;   /* between neighbouring scan lines; of a curved or phased array half-way down */
    double demodulation_hz; /* of IQ the frequency by which it was turned down; 0: the frame is RF */
    double line_angle_deg;  /* of a curved or phased array, between neighbouring scan lines; 0: lines are parallel */
    double radius_mm;       /* of a curved array; 0 of a phased one */
    double first_depth_mm;  /* depth of row 0 */
} usert_scan;

typedef struct usert_frame {
    const void *samples; /* rows x lines, one row (a sample of each line) after the other, row 0 nearest the probe;
                            of IQ two numbers each, in-phase before quadrature; copied by usert_send */
    usert_type type;
    int rows, lines;
    usert_scan scan;
} usert_frame;

typedef struct usert_options {
    const char *endpoint;   /* tcp://HOST:PORT or ipc://PATH */
    const char *stream;     /* name of this scanner, UTF-8 */
    int connect;            /* 0: bind, for usert serve --rf ENDPOINT; 1: connect to one with --rf-bind */
    const char *key;        /* with connect: file of your secret key, NAME.key_secret of `usert keys make`; or NULL */
    const char *server_key; /* with key: file of the server's public key, NAME.key */
    int insecure;           /* 1: allow an endpoint that other machines can reach without keys, unencrypted */
    const char *clock;      /* name of the clock behind time_ns; NULL: that of usert_now_ns() */
} usert_options;

typedef struct usert_sender usert_sender;

usert_sender *usert_sender_open(const usert_options *options, char error[USERT_ERROR]);
void usert_sender_close(usert_sender *sender); /* waits at most a second for frames that are under way */

/* Send a frame that is complete now. Never waits: 1: a receiver gets it; 0: dropped, because none was there or the only
 * one was slow; -1: it is no frame, see usert_sender_error(). */
int usert_send(usert_sender *sender, const usert_frame *frame);

/* The same with the scanner's own count and times: time_ns of the clock, acquired_ns since 1970, 0 where unknown. */
int usert_send_stamped(usert_sender *sender, const usert_frame *frame, int64_t sequence, int64_t time_ns,
                       int64_t acquired_ns);

int usert_sender_wait(usert_sender *sender, int timeout_ms); /* 1: a receiver is there; 0: none came in time */
uint64_t usert_sender_sent(const usert_sender *sender);
uint64_t usert_sender_dropped(const usert_sender *sender);
const char *usert_sender_error(const usert_sender *sender); /* of the last usert_send that returned -1 */
int64_t usert_now_ns(void); /* the monotonic clock of this machine */

#ifdef __cplusplus
}
#endif
#endif
