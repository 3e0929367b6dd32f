function sent = usert_send(target, samples, scan)
%USERT_SEND  Hand one frame of RF or IQ over to `usert bridge tcp` or `usert bridge shm`.
%
%   sent = usert_send(target, samples, scan)
%   usert_send()                                closes what is open
%
%   target   'tcp://127.0.0.1:5557', or the file of `usert bridge shm`, such as '/dev/shm/usert-rf'.
%   samples  samples x lines, row 1 nearest the probe: int16, single or double (sent as single); complex for IQ.
%   scan     struct with fs_hz, f0_hz, sound_speed_m_s, line_pitch_mm; of IQ demodulation_hz too. May have
%            radius_mm and line_angle_deg, first_depth_mm, stream (name of the scanner, 'matlab'),
%            sequence (number of the frame; by default one more at each call),
%            acquired_s (when the frame was complete, in seconds since 1970; by default now).
%   sent     whether the frame was handed over; false while there is no bridge. Never an error for that reason.
%
%   For MATLAB, without a toolbox, and GNU Octave (tried with 7.3), whose package instrument-control TCP needs.

    persistent link
    if isempty(link)
        link = closed();
    end
    if nargin == 0
        hang_up(link);
        link = closed();
        return
    end
    completed_s = wall_clock_s();
    if ~strcmp(link.target, target)
        hang_up(link);
        next = closed();
        next.sequence = link.sequence;
        link = next;
        link.target = target;
        link.clock = clock_name();
    end
    if isfield(scan, 'sequence')
        link.sequence = scan.sequence;
    end
    if isfield(scan, 'acquired_s')
        completed_s = scan.acquired_s;
    end
    [values, shape] = column_by_column(samples, scan);
    start = message_start(link, values, shape, scan, completed_s);
    link.sequence = link.sequence + 1;
    sent = false;
    if abs(wall_clock_s() - link.failed_s) < 1
        return
    end
    try
        if strncmp(target, 'tcp://', 6)
            link = send_tcp(link, start, values);
        else
            link = write_file(link, start, values);
        end
        sent = true;
    catch fault
        if isempty(link.fault)
            warning('usert_send:waiting', 'usert_send: %s: %s; trying again', target, fault.message);
        end
        hang_up(link);
        link.tcp = [];
        link.file = -1;
        link.fault = fault.message;
        link.failed_s = wall_clock_s();  % connecting takes its time: once a second
    end
end

function link = closed()
    link = struct('target', '', 'sequence', 0, 'clock', '', 'failed_s', 0, 'fault', '', ...
                  'tcp', [], 'file', -1, 'slot_bytes', 0, 'counter', 0);
end

function hang_up(link)
    % Of TCP the connection ends with the last copy of link.tcp.
    if link.file >= 0
        try  % it may be closed already
            fclose(link.file);
        catch
        end
    end
end

function [values, shape] = column_by_column(samples, scan)
    % The samples as they are, line after line, which the bridge turns; of IQ in-phase and quadrature in turns. Single
    % precision is int32 of the same bytes where that costs nothing more: Octave writes those many times faster.
    if isa(samples, 'double')
        samples = single(samples);
    end
    if ~(isa(samples, 'int16') || isa(samples, 'single')) || ndims(samples) ~= 2
        error('usert_send:samples', 'usert_send: got %d-dimensional %s, expected a matrix of int16, single or double', ...
              ndims(samples), class(samples));
    end
    shape = sprintf('%d,%d', size(samples, 1), size(samples, 2));
    values = samples(:);
    if isfield(scan, 'demodulation_hz')
        if ~in_octave() || isreal(values) || ~isa(values, 'single')  % whose complex numbers are such pairs
            pairs = zeros(2, numel(values), class(values));
            pairs(1, :) = real(values);
            pairs(2, :) = imag(values);
            values = pairs(:);
        end
        shape = [shape ',2'];
    elseif ~isreal(samples)
        error('usert_send:iq', 'usert_send: got complex samples, expected scan.demodulation_hz with them');
    end
    if isa(values, 'single')
        values = typecast(values, 'int32');
    end
end

function start = message_start(link, values, shape, scan, completed_s)
    % Prefix and header: docs/protocol.md, "Without ZeroMQ". The time is that of the wall clock, so time_ns is 0.
    stream = 'matlab';
    if isfield(scan, 'stream')
        stream = scan.stream;
    end
    if isempty(regexp(stream, '^[\w .:-]+$', 'once'))
        error('usert_send:stream', 'usert_send: got stream "%s", expected letters, digits and any of "_ .:-"', stream);
    end
    types = struct('int16', 'int16', 'int32', 'float32');
    header = sprintf(['{"usert":1,"kind":"rf","stream":"%s","sequence":%.0f,"time_ns":0,"acquired_ns":%.0f,' ...
                      '"clock":"%s","dtype":"%s","shape":[%s],"byte_order":"little","order":"columns"'], ...
                     stream, link.sequence, 1e9 * completed_s, link.clock, types.(class(values)), shape);
    needed = {'fs_hz', 'f0_hz', 'sound_speed_m_s', 'line_pitch_mm'};
    names = [needed {'radius_mm', 'line_angle_deg', 'first_depth_mm', 'demodulation_hz'}];
    for k = 1:numel(names)
        if isfield(scan, names{k})
            header = [header sprintf(',"%s":%s', names{k}, number_text(scan.(names{k})))]; %#ok<AGROW>
        elseif k <= numel(needed)
            error('usert_send:scan', 'usert_send: got a scan without %s, expected %s', ...
                  names{k}, strjoin(needed, ', '));
        end
    end
    header = uint8([header '}']);
    width = struct('int16', 2, 'int32', 4);
    sizes = uint32([numel(header), width.(class(values)) * numel(values)]);
    start = [uint8('USRF') typecast(sizes, 'uint8') header];
end

function text = number_text(value)
    if isscalar(value)
        text = sprintf('%.17g', value);
    else  % rows of [row, Hz]: a demodulation frequency that changes with depth
        text = sprintf('[%.17g,%.17g],', double(value).');
        text = ['[' text(1:end - 1) ']'];
    end
end

function link = send_tcp(link, start, values)
    if isempty(link.tcp)
        address = regexp(link.target, '^tcp://(.+):(\d+)$', 'tokens', 'once');
        if in_octave()
            pkg('load', 'instrument-control');
            link.tcp = tcpclient(address{1}, str2double(address{2}), 'Timeout', 2);
        else
            link.tcp = tcpclient(address{1}, str2double(address{2}), 'Timeout', 2, 'ConnectTimeout', 1);
        end
        link.fault = '';
    end
    write_bytes(link.tcp, start(:));
    write_bytes(link.tcp, values);
end

function write_bytes(tcp, values)
    if ~in_octave()
        write(tcp, values.', class(values));  % an error where it fails
        return
    end
    most = 262144;  % Octave waits long where the connection's buffer is full amid one write
    for k = 1:most:numel(values)
        part = values(k:min(k + most - 1, end));
        if write(tcp, part, class(part)) < numel(part)
            error('usert_send:tcp', 'the bridge closed the connection');
        end
    end
end

function link = write_file(link, start, values)
    % Two slots in turn. A slot's first counter is written before its message and the second one after, so that a
    % reader knows a whole message; fseek writes out what is buffered, which keeps the order.
    bytes = numel(start) + numel(typecast(values(1), 'uint8')) * numel(values);
    if link.file < 0 || bytes > link.slot_bytes
        link = make_file(link, bytes);
    end
    link.counter = link.counter + 1;
    slot = mod(link.counter, 2);
    fseek(link.file, 16 + 16 * slot, 'bof');
    fwrite(link.file, link.counter, 'uint64');
    fseek(link.file, 64 + link.slot_bytes * slot, 'bof');
    fwrite(link.file, start, 'uint8');
    if fwrite(link.file, values, class(values)) ~= numel(values)
        fail_to_write(link);
    end
    fseek(link.file, 24 + 16 * slot, 'bof');
    fwrite(link.file, link.counter, 'uint64');
    fseek(link.file, 0, 'bof');
end

function link = make_file(link, bytes)
    if link.file >= 0
        fclose(link.file);
    end
    [link.file, reason] = fopen(link.target, 'w+', 'ieee-le');
    if link.file < 0
        error('usert_send:file', '%s', reason);
    end
    link.slot_bytes = bytes + 1024;  % headers differ in length
    link.counter = round(86400e3 * now());  %#ok<TNOW1> other counters than those of the file before
    blank = zeros(1, 64 + 2 * link.slot_bytes, 'uint8');
    if fwrite(link.file, blank, 'uint8') ~= numel(blank) || fseek(link.file, 8, 'bof') ~= 0
        fail_to_write(link);
    end
    fwrite(link.file, link.slot_bytes, 'uint64');
    fseek(link.file, 0, 'bof');
    fwrite(link.file, uint8('USRTSHM1'), 'uint8');
    fseek(link.file, 0, 'bof');
    link.fault = '';
end

function fail_to_write(link)
    fclose(link.file);
    error('usert_send:file', 'cannot write: is the memory full?');
end

function seconds = wall_clock_s()
    if in_octave()
        seconds = time();
    else
        seconds = posixtime(datetime('now', 'TimeZone', 'UTC'));
    end
end

function name = clock_name()
    % On Linux the name of this boot, by which the bridge knows that this is its machine; elsewhere none.
    name = '';
    file = fopen('/proc/sys/kernel/random/boot_id', 'r');
    if file >= 0
        name = strtrim(fgetl(file));
        fclose(file);
    end
end

function yes = in_octave()
    yes = exist('OCTAVE_VERSION', 'builtin') > 0;
end
