// Sends RF or IQ frames to `usert serve`, by cppzmq 4.7 and libzmq 4.2 or later, in C++17: copy this header into your
// program, and link with -lzmq. The protocol is docs/protocol.md.
//
//     usert::Options options;
//     options.endpoint = "tcp://127.0.0.1:5555";
//     options.stream = "my-scanner";
//     usert::Sender sender(options);
//     usert::Scan scan{40e6, 6.4e6, 1540, 0.3};
//     sender.send(samples, rows, lines, scan);        // each frame, as soon as it is complete
//
// A sender belongs to one thread at a time. Samples are sent as they lie in memory: little-endian machines only.
#pragma once
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <zmq.hpp>

namespace usert {

struct Scan {                   // geometry and frequencies of a frame
    double fs_hz = 0;           // sampling frequency along depth; of IQ that of its complex samples
    double f0_hz = 0;           // centre frequency of the pulse
    double sound_speed_m_s = 1540;
    double line_pitch_mm = 0;   // between neighbouring scan lines; of a curved or phased array half-way down
    double demodulation_hz = 0; // of IQ the frequency by which it was turned down; 0: the frame is RF
    double line_angle_deg = 0;  // of a curved or phased array, between neighbouring lines; 0: they are parallel
    double radius_mm = 0;       // of a curved array; 0 of a phased one
    double first_depth_mm = 0;  // depth of row 0
};

struct Options {
    std::string endpoint;   // tcp://HOST:PORT or ipc://PATH
    std::string stream;     // name of this scanner, UTF-8
    bool connect = false;   // false: bind, for usert serve --rf ENDPOINT; true: connect to one with --rf-bind
    std::string key;        // with connect: file of your secret key, NAME.key_secret of `usert keys make`
    std::string server_key; // with key: file of the server's public key, NAME.key
    bool insecure = false;  // allow an endpoint that other machines can reach without keys, unencrypted
    std::string clock;      // name of the clock behind time_ns; empty: that of now_ns()
};

struct Stamp { // the scanner's own count and times; 0 where a time is not known
    std::int64_t sequence;
    std::int64_t time_ns;     // of the clock of the options, when the frame was complete
    std::int64_t acquired_ns; // the same moment, since 1970
};

template <class Clock = std::chrono::steady_clock> std::int64_t now_ns() { // the monotonic clock of this machine
    return std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
}

namespace detail {

inline constexpr std::string_view beginning = "{\"usert\":1,\"kind\":\"rf\"";
inline constexpr int queue_frames = 2, linger_ms = 1000, subscription_bytes = 1024, subscriptions_a_frame = 16;
inline constexpr std::int64_t silent_ns = 3'000'000'000; // a refused connection is not tried again by ZeroMQ: we do

// The next character of UTF-8, which is cut off; 0 where it is none that a header may hold.
inline char32_t next_character(std::string_view &text) {
    const auto byte = [&](std::size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u; };
    const auto first = byte(0);
    const int more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : first >> 3 == 30 ? 3 : -1;
    char32_t code = more > 0 ? first & (0x3fu >> more) : first;
    for (int k = 1; k <= more; k++) {
        if ((byte(k) & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (byte(k) & 0x3f);
    }
    text.remove_prefix(1 + more);
    constexpr char32_t least[] = {0x20, 0xa0, 0x800, 0x10000};
    const bool bad = more < 0 || code < least[more] || code > 0x10ffff || code == 0x7f || code == 0x2028 ||
                     code == 0x2029 || (code >= 0xd800 && code < 0xe000);
    return bad ? 0 : code;
}

// UTF-8 as a string of JSON in ASCII.
inline std::string json(std::string_view text, const char *what) {
    std::string out = "\"";
    const auto escape = [&](char32_t unit) {
        constexpr char digits[] = "0123456789abcdef";
        out += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4)
            out += digits[unit >> shift & 15];
    };
    for (int count = 0; !text.empty(); count++) {
        const char32_t code = next_character(text);
        if (code == 0 || count == 256)
            throw std::invalid_argument(std::string(what) +
                                        ": expected UTF-8 of at most 256 characters, no control characters");
        if (code == '"' || code == '\\')
            out += '\\';
        if (code < 0x7f)
            out += static_cast<char>(code);
        else if (code < 0x10000)
            escape(code);
        else
            escape(0xd7c0 + (code >> 10)), escape(0xdc00 + (code & 0x3ff));
    }
    return out + '"';
}

// The shortest number that reads back as `value`, whatever the locale.
inline std::string json(double value) {
    char text[40] = "";
    const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific).ptr;
    const std::string_view all(text, end - text);
    const auto e = all.find('e');
    const int digits = e < 3 ? static_cast<int>(e) : static_cast<int>(e) - 1, exponent = std::atoi(text + e + 1);
    if (exponent < -4 || exponent >= 16)
        return std::string(all);
    const int decimals = digits - 1 - exponent > 1 ? digits - 1 - exponent : 1;
    return {text, std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, decimals).ptr};
}

// The key after `name` in a file of `usert keys make`.
inline std::string read_key(const std::string &path, const std::string &name) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);)
        if (const auto at = line.find(name); at != line.npos && line.substr(at + name.size()).find('"') == 40)
            return line.substr(at + name.size(), 40);
    throw std::invalid_argument(path +
                                ": expected your NAME.key_secret, and NAME.key of the server, of `usert keys make`");
}

inline std::string clock_name() {
    std::string name; // on Linux there is one clock for all processes of this boot
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    return std::getline(file, name) ? name : std::to_string(std::random_device{}()) + std::to_string(now_ns());
}

inline bool is_local(const std::string &endpoint) {
    const auto begins = [&](const char *begin) { return endpoint.rfind(begin, 0) == 0; };
    const auto end = endpoint.find_first_not_of("0123456789.", 6); // of an address, not of 127.example.org
    const bool two = endpoint.find(';') != endpoint.npos; // source;destination
    return !two && (begins("ipc://") || begins("tcp://localhost:") || begins("tcp://[::1]:") ||
                    (begins("tcp://127.") && end != endpoint.npos && endpoint[end] == ':'));
}

} // namespace detail

class Sender {
public:
    // Throws std::invalid_argument for options that make no sense, zmq::error_t where it cannot bind or connect.
    explicit Sender(Options options) : options_(std::move(options)) {
        const bool keyed = !options_.key.empty() || !options_.server_key.empty();
        if (keyed && (options_.key.empty() || options_.server_key.empty() || !options_.connect))
            throw std::invalid_argument("keys: expected key, server_key and connect: the server checks keys");
        if (!keyed && !options_.insecure && !detail::is_local(options_.endpoint))
            throw std::invalid_argument(
                options_.endpoint + ": other machines can reach it: give keys, or insecure on your own network");
        stream_ = detail::json(options_.stream, "stream");
        clock_ = detail::json(options_.clock.empty() ? detail::clock_name() : options_.clock, "clock");
        if (keyed) {
            public_key_ = detail::read_key(options_.key, "public-key = \"");
            secret_key_ = detail::read_key(options_.key, "secret-key = \"");
            server_key_ = detail::read_key(options_.server_key, "public-key = \"");
        }
        open_socket();
    }
    Sender(Sender &&) = default; // no assignment: it would end the old context while its socket is open, and hang

    // Send a frame that is complete now, or of which `stamp` tells. Never waits: true: a receiver gets it; false:
    // dropped, because none was there or the only one was slow. Throws std::invalid_argument for what is no frame.
    // `samples`: rows x lines, one row (a sample of each line) after the other, row 0 nearest the probe; of IQ, where
    // `scan` states demodulation_hz, two numbers each, in-phase before quadrature. They are copied.
    bool send(const std::int16_t *samples, int rows, int lines, const Scan &scan, std::optional<Stamp> stamp = {}) {
        return send(samples, sizeof *samples, "int16", rows, lines, scan, stamp);
    }
    bool send(const float *samples, int rows, int lines, const Scan &scan, std::optional<Stamp> stamp = {}) {
        return send(samples, sizeof *samples, "float32", rows, lines, scan, stamp);
    }
    bool send(const std::complex<float> *iq, int rows, int lines, const Scan &scan, std::optional<Stamp> stamp = {}) {
        if (scan.demodulation_hz == 0)
            throw std::invalid_argument("frame: complex samples need demodulation_hz");
        return send(reinterpret_cast<const float *>(iq), rows, lines, scan, stamp);
    }

    // Whether a receiver is there, after waiting for one for at most so long.
    bool wait(std::chrono::milliseconds timeout) {
        for (const auto end = std::chrono::steady_clock::now() + timeout;;) {
            count_receivers();
            const auto left = std::chrono::floor<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
            if (receivers_ > 0 || left.count() <= 0)
                return receivers_ > 0;
            zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
            zmq::poll(&item, 1, std::min(left, std::chrono::milliseconds(100)));
        }
    }

    std::uint64_t sent() const { return sent_; }
    std::uint64_t dropped() const { return dropped_; }

private:
    bool send(const void *samples, std::size_t size, const char *dtype, int rows, int lines, const Scan &scan,
              const std::optional<Stamp> &stamp) {
        const auto stamped = stamp.value_or(Stamp{sequence_, now_ns(), now_ns<std::chrono::system_clock>()});
        const auto header = header_of(samples, dtype, rows, lines, scan, stamped);
        size *= static_cast<std::size_t>(rows) * lines * (scan.demodulation_hz != 0 ? 2 : 1);
        sequence_ = static_cast<std::int64_t>(static_cast<std::uint64_t>(stamped.sequence) + 1);
        count_receivers();
        constexpr auto now = zmq::send_flags::dontwait;
        const bool taken = receivers_ > 0 && socket_.send(zmq::buffer(header), now | zmq::send_flags::sndmore) &&
                           socket_.send(zmq::buffer(samples, size), now);
        (taken ? sent_ : dropped_)++;
        return taken;
    }

    std::string header_of(const void *samples, const char *dtype, int rows, int lines, const Scan &scan,
                          const Stamp &stamp) const {
        if (samples == nullptr || rows < 1 || rows > 32768 || lines < 1 || lines > 4096 || rows > (1 << 24) / lines)
            throw std::invalid_argument(
                "frame: expected samples, rows 1 to 32768, lines 1 to 4096, rows x lines at most 2^24");
        if (stamp.sequence < 0 || stamp.time_ns < 0 || stamp.acquired_ns < 0)
            throw std::invalid_argument("frame: expected a sequence and times of 0 or more");
        const bool iq = scan.demodulation_hz != 0, curved = scan.line_angle_deg != 0;
        if (scan.radius_mm != 0 && !curved)
            throw std::invalid_argument("radius_mm: expected line_angle_deg with it");
        std::string header(detail::beginning);
        header += ",\"stream\":" + stream_ + ",\"sequence\":" + std::to_string(stamp.sequence) +
                  ",\"time_ns\":" + std::to_string(stamp.time_ns) +
                  ",\"acquired_ns\":" + std::to_string(stamp.acquired_ns) + ",\"clock\":" + clock_ + ",\"dtype\":\"" +
                  dtype + "\",\"shape\":[" + std::to_string(rows) + "," + std::to_string(lines) + (iq ? ",2" : "") +
                  "],\"byte_order\":\"little\"";
        const auto put = [&](const char *name, double value, bool stated = true, bool may_be_0 = false) {
            if (!std::isfinite(value) || value < 0 || (stated && value == 0 && !may_be_0))
                throw std::invalid_argument(std::string(name) + ": expected a finite number above 0");
            if (stated)
                header += std::string(",\"") + name + "\":" + detail::json(value);
        };
        put("fs_hz", scan.fs_hz);
        put("f0_hz", scan.f0_hz);
        put("sound_speed_m_s", scan.sound_speed_m_s);
        put("line_pitch_mm", scan.line_pitch_mm);
        put("demodulation_hz", scan.demodulation_hz, iq);
        put("radius_mm", scan.radius_mm, curved, true);
        put("line_angle_deg", scan.line_angle_deg, curved);
        put("first_depth_mm", scan.first_depth_mm, scan.first_depth_mm != 0);
        return header + "}";
    }

    void open_socket() {
        namespace option = zmq::sockopt;
        socket_ = zmq::socket_t(context_, zmq::socket_type::xpub); // PUB that also says who subscribes
        socket_.set(option::sndhwm, detail::queue_frames);
        socket_.set(option::linger, detail::linger_ms);
        socket_.set(option::immediate, true);
        socket_.set(option::xpub_verboser, true);
        socket_.set(option::xpub_nodrop, true);
        socket_.set(option::ipv6, options_.endpoint.find('[') != std::string::npos);
        socket_.set(option::maxmsgsize, std::int64_t{detail::subscription_bytes});
        if (!server_key_.empty()) {
            socket_.set(option::curve_publickey, public_key_);
            socket_.set(option::curve_secretkey, secret_key_);
            socket_.set(option::curve_serverkey, server_key_);
        }
        receivers_ = 0;
        heard_ns_ = now_ns();
        options_.connect ? socket_.connect(options_.endpoint) : socket_.bind(options_.endpoint);
    }

    // Read subscriptions, only a few at a time, so that sending goes on whoever sends them.
    void count_receivers() {
        const int before = receivers_;
        zmq::message_t message;
        for (int k = 0; k < detail::subscriptions_a_frame && socket_.recv(message, zmq::recv_flags::dontwait); k++) {
            const std::string_view text(message.data<char>(), message.size());
            if (!text.empty() && (text[0] & ~1) == 0 && detail::beginning.substr(0, text.size() - 1) == text.substr(1))
                receivers_ += text[0] ? 1 : -1;
        }
        // ZeroMQ refuses a frame for a single receiver that is slow; of several none may hold the others up
        if (receivers_ != before)
            socket_.set(zmq::sockopt::xpub_nodrop, receivers_ <= 1);
        if (receivers_ > 0)
            heard_ns_ = now_ns();
        else if (options_.connect && now_ns() - heard_ns_ > detail::silent_ns) {
            socket_.set(zmq::sockopt::linger, 0);
            open_socket();
        }
    }

    Options options_;
    std::string stream_, clock_ /* in JSON */, public_key_, secret_key_, server_key_;
    zmq::context_t context_;
    zmq::socket_t socket_;
    int receivers_ = 0; // subscriptions to the frames
    std::int64_t heard_ns_ = 0, sequence_ = 0;
    std::uint64_t sent_ = 0, dropped_ = 0;
};

} // namespace usert
