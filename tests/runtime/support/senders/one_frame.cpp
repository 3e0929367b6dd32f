// As one_frame.c.
#include "usert_sender.hpp"

#include <iostream>
#include <type_traits>

static_assert(std::is_move_constructible_v<usert::Sender> && !std::is_move_assignable_v<usert::Sender>);

int main(int, char **words) try {
    usert::Options options;
    options.endpoint = words[1], options.stream = words[2], options.clock = words[3];
    usert::Sender sender(options);
    static short samples[4096];
    for (int k = 0; k < 4096; k++)
        samples[k] = static_cast<short>(k);
    double numbers[8];
    for (int k = 0; k < 8; k++)
        numbers[k] = std::stod(words[10 + k]);
    const usert::Scan scan{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7]};
    const usert::Stamp stamp{std::stoll(words[7]), std::stoll(words[8]), std::stoll(words[9])};
    const int rows = std::stoi(words[5]), lines = std::stoi(words[6]);
    if (!sender.wait(std::chrono::seconds(20)))
        return 3;
    if (*words[4] == 'i')
        sender.send(samples, rows, lines, scan, stamp);
    else if (scan.demodulation_hz != 0)
        sender.send(reinterpret_cast<const std::complex<float> *>(samples), rows, lines, scan, stamp);
    else
        sender.send(reinterpret_cast<const float *>(samples), rows, lines, scan, stamp);
} catch (const std::exception &error) {
    std::cerr << error.what() << std::endl;
    return 1;
}
