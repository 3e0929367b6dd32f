function took_s = usert_demo(target, count, rows, lines, kind, interval_s)
%USERT_DEMO  Send frames of simulated speckle, pressed and let go: a scanner to try the way with.
%
%   usert_demo('tcp://127.0.0.1:5557')
%   took_s = usert_demo(target, count, rows, lines, kind, interval_s)
%
%   count       frames, 200; Inf until Ctrl-C.
%   rows, lines 512 and 64.
%   kind        'int16', 'single', 'double' of RF, or 'iq'.
%   interval_s  seconds from frame to frame, 0.05.
%   took_s      seconds that each of the newest 1000 calls of usert_send took.

    defaults = {200, 512, 64, 'int16', 0.05};
    given = {};
    if nargin > 1, given{1} = count; end
    if nargin > 2, given{2} = rows; end
    if nargin > 3, given{3} = lines; end
    if nargin > 4, given{4} = kind; end
    if nargin > 5, given{5} = interval_s; end
    given = [given defaults(numel(given) + 1:end)];
    [count, rows, lines, kind, interval_s] = given{:};

    scan = struct('fs_hz', 40e6, 'f0_hz', 6.4e6, 'sound_speed_m_s', 1540, 'line_pitch_mm', 0.3);
    if strcmp(kind, 'iq')
        scan.demodulation_hz = 6.4e6;
    end
    frames = pressed_speckle(rows, lines, kind);
    took_s = zeros(1, 0);
    begun = tic();
    k = 0;
    while k < count
        frame = frames{1 + mod(k, numel(frames))};
        called = tic();
        usert_send(target, frame, scan);
        took_s = [took_s(max(1, end - 998):end) toc(called)];
        k = k + 1;
        pause(max(0, k * interval_s - toc(begun)));
    end
    usert_send();
end

function frames = pressed_speckle(rows, lines, kind)
    % Echoes of random scatterers, at each frame pressed deeper by .1 % up to 1 %, and let go.
    steps = [0:10 9:-1:1];
    frames = cell(1, numel(steps));
    deep = ceil(1.1 * rows);
    scatterers = randn(deep, lines) + 1i * randn(deep, lines);
    at = (-12:12).';
    envelope = conv2(scatterers, exp(-(at / 6) .^ 2), 'same');  % of a pulse at .16 cycles a sample
    for k = 1:numel(steps)
        from = (0:rows - 1).' * (1 + 0.001 * steps(k));
        turned = interp1((0:deep - 1).', envelope, from) .* exp(2i * pi * 0.16 * (from - (0:rows - 1).'));
        if strcmp(kind, 'iq')
            frames{k} = single(500 * turned);
        else
            frames{k} = feval(kind, 500 * real(turned .* exp(2i * pi * 0.16 * (0:rows - 1).')));
        end
    end
end
