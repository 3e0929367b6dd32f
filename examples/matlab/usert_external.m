function usert_external(varargin)
%USERT_EXTERNAL  External function of a Verasonics Vantage: sends each frame of IQ to usert.
%
%   In the set-up script, after the reconstruction:
%
%       Process(2).classname = 'External';
%       Process(2).method = 'usert_external';
%       Process(2).Parameters = {'srcbuffer', 'inter', 'srcbufnum', 1, 'srcframenum', 1, 'dstbuffer', 'none'};
%
%   and an Event with `process = 2` behind each one that reconstructs. The system calls it with the complex IQData, or
%   with IData and QData. Geometry is read from its structures in the base workspace: Resource, Trans, PData.
%
%   The place that frames go to is the variable usert_target of the base workspace, by default
%   'tcp://127.0.0.1:5557'; on Linux a file of `usert bridge shm` is faster: usert_target = '/dev/shm/usert-rf'.

    persistent scan target
    if nargin == 0
        scan = [];
        return
    end
    if isempty(scan)  % once: after another set-up script type `clear usert_external`
        [scan, target] = read_setup();
    end
    samples = varargin{1};
    if nargin > 1
        samples = complex(samples, varargin{2});
    end
    usert_send(target, single(samples(:, :, 1)), scan);
end

function [scan, target] = read_setup()
    target = 'tcp://127.0.0.1:5557';
    if evalin('base', 'exist(''usert_target'', ''var'')')
        target = evalin('base', 'usert_target');
    end
    speed = evalin('base', 'Resource.Parameters.speedOfSound');
    f0_hz = 1e6 * evalin('base', 'Trans.frequency');
    pitch = evalin('base', 'PData(1).PDelta');    % x, y, z in wavelengths
    origin = evalin('base', 'PData(1).Origin');
    wavelength_mm = 1e3 * speed / f0_hz;
    scan = struct('stream', 'verasonics', 'sound_speed_m_s', speed, 'f0_hz', f0_hz, ...
                  'demodulation_hz', f0_hz, ...
                  'fs_hz', f0_hz / (2 * pitch(3)), ...  % rows are c / (2 fs) apart
                  'line_pitch_mm', pitch(1) * wavelength_mm, ...
                  'first_depth_mm', max(0, origin(3) * wavelength_mm));
end
