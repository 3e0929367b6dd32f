/* Stands for your scanner: speckle, pressed deeper by .1 % with each frame up to 2 %, and let go, until it is killed.
 *
 *     cc -O2 -o speckle speckle.c usert_sender.c -lzmq -lm
 *     ./speckle tcp://127.0.0.1:5555 [--iq] [--float32] [--size 512x128] [--rate 30] [--count N] [--stream NAME]
 *     ./speckle tcp://10.0.0.5:5555 --connect --key scanner.key_secret --server-key server.key
 */
#define _DEFAULT_SOURCE
#include "usert_sender.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double PI = 3.14159265358979;

static double noise(void) { return (double)rand() / RAND_MAX - 0.5; }

int main(int count, char **words)
{
    usert_options options = {.stream = "c-speckle"};
    usert_frame frame = {.type = USERT_INT16, .rows = 512, .lines = 128};
    frame.scan = (usert_scan){.fs_hz = 40e6, .f0_hz = 6.4e6, .sound_speed_m_s = 1540, .line_pitch_mm = 0.3};
    double rate_hz = 30;
    long frames = -1;
    for (int k = 1; k < count; k++) {
        const char *value = k + 1 < count ? words[k + 1] : "";
        if (strncmp(words[k], "--", 2) != 0)
            options.endpoint = words[k];
        else if (strcmp(words[k], "--iq") == 0)
            frame.scan.fs_hz = 10e6, frame.scan.demodulation_hz = 6.4e6;
        else if (strcmp(words[k], "--float32") == 0)
            frame.type = USERT_FLOAT32;
        else if (strcmp(words[k], "--connect") == 0)
            options.connect = 1;
        else if (++k, strcmp(words[k - 1], "--key") == 0)
            options.key = value;
        else if (strcmp(words[k - 1], "--server-key") == 0)
            options.server_key = value;
        else if (strcmp(words[k - 1], "--stream") == 0)
            options.stream = value;
        else if (strcmp(words[k - 1], "--rate") == 0)
            rate_hz = atof(value);
        else if (strcmp(words[k - 1], "--count") == 0)
            frames = atol(value);
        else if (strcmp(words[k - 1], "--size") != 0 || sscanf(value, "%dx%d", &frame.rows, &frame.lines) != 2)
            return fprintf(stderr, "speckle: got %s %s, see speckle.c\n", words[k - 1], value), 2;
    }

    /* the echo's envelope, I and Q: noise as long as a pulse */
    const int iq = frame.scan.demodulation_hz != 0, pulse = iq ? 7 : 25, rows = frame.rows, lines = frame.lines;
    const int deep = rows + rows / 40 + pulse + 2, numbers = lines * (iq ? 2 : 1);
    float *white = calloc((size_t)deep * lines * 2, sizeof *white);
    float *envelope = calloc((size_t)deep * lines * 2, sizeof *envelope);
    void *samples = calloc((size_t)rows * numbers, 4);
    if (white == NULL || envelope == NULL || samples == NULL)
        return fprintf(stderr, "speckle: no memory\n"), 1;
    for (long k = 0; k < (long)deep * lines * 2; k++)
        white[k] = (float)(3000 * noise());
    for (int row = 0; row < deep - pulse; row++)
        for (int tap = 0; tap < pulse; tap++) {
            const float weight = (float)(0.5 - 0.5 * cos(2 * PI * (tap + 1) / (pulse + 1)));
            for (int k = 0; k < 2 * lines; k++)
                envelope[(size_t)row * 2 * lines + k] += weight * white[(size_t)(row + tap) * 2 * lines + k];
        }

    char error[USERT_ERROR];
    usert_sender *sender = usert_sender_open(&options, error);
    if (sender == NULL)
        return fprintf(stderr, "speckle: %s\n", error), 1;
    printf("speckle: %s\n", options.endpoint);
    fflush(stdout);
    frame.samples = samples;
    for (long number = 0; number != frames; number++) {
        const int step = (int)(number % 40), pressed = step < 20 ? step : 40 - step;
        for (int row = 0; row < rows; row++) {
            const double at = row * (1 + 0.001 * pressed);
            const float *above = envelope + (size_t)at * 2 * lines, *below = above + 2 * lines;
            const double phase = 2 * PI * frame.scan.f0_hz / frame.scan.fs_hz * (iq ? at - row : at);
            const float part = (float)(at - floor(at)), c = (float)cos(phase), s = (float)sin(phase);
            for (int k = 0; k < numbers; k++) {
                const int i = iq ? k & ~1 : 2 * k, q = i + 1;
                const float re = above[i] + part * (below[i] - above[i]), im = above[q] + part * (below[q] - above[q]);
                const float value = iq && k % 2 ? re * s + im * c : re * c - im * s;
                const size_t place = (size_t)row * numbers + k;
                if (frame.type == USERT_INT16)
                    ((int16_t *)samples)[place] = (int16_t)value;
                else
                    ((float *)samples)[place] = value;
            }
        }
        if (usert_send(sender, &frame) < 0) /* now the frame is complete */
            return fprintf(stderr, "speckle: %s\n", usert_sender_error(sender)), 1;
        const double rest_s = 1 / rate_hz;
        nanosleep(&(struct timespec){.tv_sec = (time_t)rest_s, .tv_nsec = (long)(1e9 * fmod(rest_s, 1))}, NULL);
    }
    printf("speckle: %llu sent, %llu dropped\n", (unsigned long long)usert_sender_sent(sender),
           (unsigned long long)usert_sender_dropped(sender));
    usert_sender_close(sender);
    free(white), free(envelope), free(samples);
    return 0;
}
