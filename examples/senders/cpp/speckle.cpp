// Stands for your scanner: speckle, pressed deeper by .1 % with each frame up to 2 %, and let go, until it is killed.
//
//     c++ -std=c++17 -O2 -o speckle speckle.cpp -lzmq
//     ./speckle tcp://127.0.0.1:5555 [--iq] [--float32] [--size 512x128] [--rate 30] [--count N] [--stream NAME]
//     ./speckle tcp://10.0.0.5:5555 --connect --key scanner.key_secret --server-key server.key
#include "usert_sender.hpp"

#include <iostream>
#include <thread>
#include <vector>

using Complex = std::complex<float>;
static constexpr double pi = 3.14159265358979;

// The echo's envelope as I + jQ, (rows, lines): noise as long as a pulse.
static std::vector<Complex> speckle(int rows, int lines, int pulse) {
    std::mt19937 random;
    std::normal_distribution<float> noise(0, 800);
    std::vector<Complex> white((rows + pulse) * lines), envelope(rows * lines);
    for (auto &value : white)
        value = {noise(random), noise(random)};
    for (int row = 0; row < rows; row++)
        for (int tap = 0; tap < pulse; tap++) {
            const auto weight = static_cast<float>(0.5 - 0.5 * std::cos(2 * pi * (tap + 1) / (pulse + 1)));
            for (int line = 0; line < lines; line++)
                envelope[row * lines + line] += weight * white[(row + tap) * lines + line];
        }
    return envelope;
}

template <class T>
static void run(usert::Sender &sender, const usert::Scan &scan, int rows, int lines, double rate_hz, long count) {
    const bool iq = scan.demodulation_hz != 0;
    const auto envelope = speckle(rows + rows / 40 + 2, lines, iq ? 7 : 25);
    std::vector<T> samples(rows * lines * (iq ? 2 : 1));
    auto due = std::chrono::steady_clock::now();
    for (long number = 0; number != count; number++) {
        const int step = number % 40, pressed = step < 20 ? step : 40 - step;
        auto sample = samples.begin();
        for (int row = 0; row < rows; row++) {
            const double at = row * (1 + 0.001 * pressed);
            const auto *above = &envelope[static_cast<int>(at) * lines], *below = above + lines;
            const auto part = static_cast<float>(at - std::floor(at));
            const Complex turn(std::polar(1.0, 2 * pi * scan.f0_hz / scan.fs_hz * (iq ? at - row : at)));
            for (int line = 0; line < lines; line++) {
                const Complex value = (above[line] + part * (below[line] - above[line])) * turn;
                *sample++ = static_cast<T>(value.real());
                if (iq)
                    *sample++ = static_cast<T>(value.imag());
            }
        }
        sender.send(samples.data(), rows, lines, scan); // now the frame is complete
        std::this_thread::sleep_until(due += std::chrono::nanoseconds(static_cast<long>(1e9 / rate_hz)));
    }
}

int main(int count, char **words) try {
    usert::Options options;
    options.stream = "cpp-speckle";
    usert::Scan scan{40e6, 6.4e6, 1540, 0.3};
    int rows = 512, lines = 128;
    bool floats = false;
    double rate_hz = 30;
    long frames = -1;
    for (int k = 1; k < count; k++) {
        const std::string word = words[k];
        const auto value = [&] { return std::string(++k < count ? words[k] : ""); };
        if (word == "--iq")
            scan.fs_hz = 10e6, scan.demodulation_hz = 6.4e6;
        else if (word == "--float32")
            floats = true;
        else if (word == "--connect")
            options.connect = true;
        else if (word == "--key")
            options.key = value();
        else if (word == "--server-key")
            options.server_key = value();
        else if (word == "--stream")
            options.stream = value();
        else if (word == "--rate")
            rate_hz = std::stod(value());
        else if (word == "--count")
            frames = std::stol(value());
        else if (word == "--size") {
            const auto size = value();
            rows = std::stoi(size), lines = std::stoi(size.substr(size.find('x') + 1));
        } else
            options.endpoint = word;
    }
    usert::Sender sender(options);
    std::cout << "speckle: " << options.endpoint << std::endl;
    floats ? run<float>(sender, scan, rows, lines, rate_hz, frames)
           : run<std::int16_t>(sender, scan, rows, lines, rate_hz, frames);
    std::cout << "speckle: " << sender.sent() << " sent, " << sender.dropped() << " dropped" << std::endl;
} catch (const std::exception &error) {
    std::cerr << "speckle: " << error.what() << std::endl;
    return 1;
}
