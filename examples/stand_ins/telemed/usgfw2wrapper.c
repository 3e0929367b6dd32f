/* A stand-in for Telemed's usgfw2wrapper.dll: of its interface, as the maker's example in Python calls it, what
 * examples/telemed_sender.py uses.
 *
 *     cc -shared -fPIC -O2 -o usgfw2wrapper.so usgfw2wrapper.c -lm
 *
 * The scanner is speckle, pressed by .1 % more with each frame up to 2 %, and let go, 20 frames a second, none of which
 * passes unread. Of each line the first three samples are no echoes. TELEMED in the environment names what is amiss or
 * different: `no-library`, `no-probe`, `no-window`, `convex`, `steered`, `harmonic`, `lost` (after 10 frames, until it
 * is opened again).
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PI 3.14159265358979
enum { LINES = 128, SCATTERERS = 1200, PERIOD_NS = 25, NO_ECHO = 3 };
static const double DEEP_MM = 60, PITCH_MM = 0.3, RADIUS_MM = 40, MM_A_PIXEL = 0.125, RATE_HZ = 20;
static float place_mm[LINES][SCATTERERS], strength[LINES][SCATTERERS];
static int depth_mm = 40, frequency, running, opened, frame, window[4];
static double last_s;
static int16_t *held;
static int held_count;

static int is(const char *word)
{
    const char *given = getenv("TELEMED");
    return given != NULL && strstr(given, word) != NULL;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

static double f0_hz(void) { return 5e6 + 1e6 * frequency; }
static int samples_a_line(void) { return 2000000 * (window[1] - window[0]) / (1540 * PERIOD_NS); }

/* The frame `k` of the window as it is now, line after line. */
static void acquire(int k)
{
    const int step = k % 40, samples = samples_a_line(), lines = window[3] - window[2] + 1;
    const double strain = 0.001 * (step <= 20 ? step : 40 - step), a_mm = 2e6 / (1540 * PERIOD_NS);
    const double cycles = f0_hz() * PERIOD_NS * 1e-9;
    float *line = malloc(sizeof(float) * (samples + 1));
    held_count = samples * lines;
    held = realloc(held, sizeof(int16_t) * (held_count + 1));
    for (int m = 0; m < lines; m++) {
        memset(line, 0, sizeof(float) * (samples + 1));
        for (int s = 0; s < SCATTERERS; s++) {
            const double at = (place_mm[window[2] + m][s] * (1 - strain) - window[0]) * a_mm;
            for (int n = (int)ceil(at - 12); n <= at + 12; n++)
                if (n >= 0 && n < samples)
                    line[n] += strength[window[2] + m][s] *
                               (float)(cos(2 * PI * cycles * (n - at)) * (0.5 + 0.5 * cos(PI * (n - at) / 12)));
        }
        for (int n = 0; n < samples; n++)
            held[m * samples + n] = n < NO_ECHO ? 32000 : (int16_t)lrint(1000 * line[n]);
    }
    free(line);
}

void on_init(void)
{
    opened += 1;
    running = frame = held_count = 0;
    srand(1);
    for (int m = 0; m < LINES; m++)
        for (int s = 0; s < SCATTERERS; s++) {
            place_mm[m][s] = (float)(DEEP_MM * rand() / RAND_MAX);
            strength[m][s] = (float)(2.0 * rand() / RAND_MAX - 1);
        }
}

int init_ultrasound_usgfw2(void) { return is("no-library") ? 2 : 3; }
int find_connected_probe(void) { return is("no-probe") ? 6 : 101; }
int data_view_function(void) { return 100; }
int mixer_control_function(int left, int top, int right, int bottom, int red, int green, int blue)
{
    return right > left && bottom > top && red + green + blue == 0 ? 89 : -97;
}
void set_callback_scan_converter(void) {}
void scan_type_control(void) {}
void turn_on_scan_type(int type) { (void)type; }
void frequency_control(void) {}
void depth_control(void) {}
void set_callback_Sample_Grabber(void) {}
void RF_data_controls(void) {}
void RF_Data_source_ID(int source) { (void)source; }

void B_FrequencySetPrevNext(int step, int *hz, long *number)
{
    frequency += step;
    *hz = (int)f0_hz() + (is("harmonic") ? 20000 : 0);
    *number = frequency;
}

void DepthSetPrevNext(int step, int *mm) { *mm = depth_mm += 10 * step; }

void RF_lines_get(long *first, long *last) { *first = 0, *last = LINES - 1; }

void RF_window_set(int top, int bottom, int first, int last)
{
    const int given[] = {top, bottom, first, last};
    if (!is("no-window") && top >= 0 && bottom <= DEEP_MM && first >= 0 && last < LINES)
        memcpy(window, given, sizeof window);
}

void RF_window_get(long *top, long *bottom, long *first, long *last, long *lines)
{
    *top = window[0], *bottom = window[1], *first = window[2], *last = window[3];
    *lines = window[3] - window[2] + 1;
}

void get_sampling_period(int *ns) { *ns = PERIOD_NS; }
void get_resolution(float *across, float *down) { *across = *down = (float)MM_A_PIXEL; }

void convert_units_to_pixels(int line, int subframe, int top, int bottom, float *x1, float *y1, float *x2, float *y2)
{
    const double from_middle_mm = (line - (LINES - 1) / 2.0) * PITCH_MM;
    const double base_mm = is("convex") ? RADIUS_MM : 0, x_mm = is("convex") ? 0 : from_middle_mm;
    const double angle = is("convex") ? from_middle_mm / RADIUS_MM : is("steered") ? 0.1 : 0;
    (void)subframe;
    *x1 = (float)(255.5 + (x_mm + (base_mm + top) * sin(angle)) / MM_A_PIXEL);
    *x2 = (float)(255.5 + (x_mm + (base_mm + bottom) * sin(angle)) / MM_A_PIXEL);
    *y1 = (float)(((base_mm + top) * cos(angle) - base_mm) / MM_A_PIXEL);
    *y2 = (float)(((base_mm + bottom) * cos(angle) - base_mm) / MM_A_PIXEL);
}

/* As much of the newest frame as there is room for; as it was before while there is no new one. */
void return_RF_data(int16_t *samples, int count, int *p1, double *p2, int *p3, int *p4)
{
    if (running && !(is("lost") && opened == 1 && frame == 10) && now_s() - last_s >= 1 / RATE_HZ) {
        acquire(++frame);
        last_s = now_s();
    }
    memcpy(samples, held, sizeof(int16_t) * (count < held_count ? count : held_count));
    *p1 = *p3 = *p4 = 0;
    *p2 = 0;
}

void Run_ultrasound_scanning(void) { running = 1, last_s = now_s(); }
void Freeze_ultrasound_scanning(void) { running = 0; }
void Close_and_release(void)
{
    running = 0;
    memset(window, 0, sizeof window);
    fprintf(stderr, "stand-in: released\n");
}
