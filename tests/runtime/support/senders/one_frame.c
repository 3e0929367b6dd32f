/* Sends one frame of which everything is told, once somebody receives: for the bytes on the wire. */
#include "usert_sender.h"

#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words) {
    char error[USERT_ERROR];
    static short samples[4096];
    usert_options options = {.endpoint = words[1], .stream = words[2], .clock = words[3]};
    usert_sender *sender = count == 18 ? usert_sender_open(&options, error) : NULL;
    usert_frame frame = {.samples = samples, .type = *words[4] == 'i' ? USERT_INT16 : USERT_FLOAT32};
    double numbers[8];
    for (int k = 0; k < 4096; k++)
        samples[k] = (short)k;
    for (int k = 0; k < 8; k++)
        numbers[k] = atof(words[10 + k]);
    frame.rows = atoi(words[5]), frame.lines = atoi(words[6]);
    frame.scan = (usert_scan){numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7]};
    if (sender == NULL)
        return fprintf(stderr, "%s\n", error), 1;
    if (!usert_sender_wait(sender, 20000))
        return 3;
    if (usert_send_stamped(sender, &frame, atoll(words[7]), atoll(words[8]), atoll(words[9])) < 0)
        return fprintf(stderr, "%s\n", usert_sender_error(sender)), 1;
    usert_sender_close(sender);
    return 0;
}
